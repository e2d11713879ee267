"""The commands of ``python -m lt_core``: parse, call, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Long-tailed recognition: data, training and evaluation behind the book.",
)
DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Folder of the data; default: LT_DATA_ROOT.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """``["gamma=1.5", "form=formula"]`` to a mapping; true, false and null are as in YAML, and numbers as in Python."""
    import yaml

    options: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise ValueError(f"--loss-option is {pair!r}; allowed is name=value")
        try:
            options[name] = float(value) if not value.lstrip("+-").isdigit() else int(value)
        except ValueError:  # YAML alone would read 1e-3 as a word
            options[name] = yaml.safe_load(value)
    return options


def parse_order(text: str) -> tuple[int, ...]:
    """``"3,0,1"`` to a tuple of labels."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--class-order is {text!r}; allowed are labels separated by commas") from None


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Accuracies in percent as an aligned text table, one row per entry of ``rows``."""
    import pandas as pd

    columns = ["top1", "many", "medium", "few"]
    frame = pd.DataFrame({name: {c: row[c] for c in columns} for name, row in rows.items()}).T
    return frame.astype(float).to_string(float_format=lambda value: f"{value:.2f}", na_rep="–")


@app.command()
def data(
    root: Annotated[Path | None, typer.Option(help="Folder of the data; default: LT_DATA_ROOT.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch what is missing.")] = False,
    dataset: Annotated[str, typer.Option(help="cifar100_lt, cifar10_lt or synthetic.")] = "cifar100_lt",
    imbalance_factor: Annotated[float, typer.Option(help="Largest class over smallest.")] = 100,
) -> None:
    """Fetch the data, verify it (MD5 of the official files) and show the class counts."""
    from lt_core.data import load_dataset
    from lt_core.metrics import shot_groups

    loaded = load_dataset(dataset, root, imbalance_factor=imbalance_factor, download=download)
    counts = loaded.class_counts
    sizes = {name: int(mask.sum()) for name, mask in shot_groups(counts).items() if name != "all"}
    typer.echo(f"{dataset}, imbalance factor {imbalance_factor:g}: files verified")
    typer.echo(f"{sum(counts)} training and {len(loaded.test_targets)} test images of {len(counts)} classes")
    typer.echo(f"largest class {max(counts)}, smallest {min(counts)} images")
    typer.echo("classes: " + ", ".join(f"{name} {size}" for name, size in sizes.items()))
    typer.echo("counts: " + " ".join(str(n) for n in counts))


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Run directory; must not hold a run.")],
    loss: Annotated[str, typer.Option(help="ce, focal, cb, ldam, la, balanced_softmax, ala or gala.")] = "ce",
    loss_option: Annotated[list[str] | None, typer.Option(help="name=value; may be repeated.")] = None,
    drw: Annotated[bool, typer.Option("--drw", help="Deferred re-weighting in the last fifth.")] = False,
    dataset: Annotated[str, typer.Option(help="cifar100_lt, cifar10_lt or synthetic.")] = "synthetic",
    imbalance_factor: Annotated[float, typer.Option(help="Largest class over smallest.")] = 100,
    backbone: Annotated[str | None, typer.Option(help="resnet32 or resnet8; default: the recipe's.")] = None,
    classifier: Annotated[str | None, typer.Option(help="linear or cosine; default: the loss's.")] = None,
    recipe: Annotated[str, typer.Option(help="plain, strong or short.")] = "plain",
    epochs: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of initialisation, order and augmentation.")] = 0,
    subset_seed: Annotated[int, typer.Option(help="Seed of the subset; 0 is the canonical one.")] = 0,
    class_order: Annotated[str | None, typer.Option(help="Labels from largest to smallest class: 3,0,1,…")] = None,
    data_root: DataRoot = None,
    device: Device = "auto",
    download: Annotated[bool, typer.Option("--download", help="Fetch the data where it is missing.")] = False,
) -> None:
    """Train one configuration; write record.json, history.csv and last.pt."""
    from lt_core.training import RunConfig
    from lt_core.training import train as run

    config = RunConfig(
        dataset=dataset,
        loss=loss,
        loss_options=parse_options(loss_option or []),
        drw=drw,
        recipe=recipe,
        imbalance_factor=imbalance_factor,
        backbone=backbone,
        classifier=classifier,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        subset_seed=subset_seed,
        class_order=None if class_order is None else parse_order(class_order),
    )
    record = run(config, out, data_root, device, download=download)
    final = record["final"]
    best = f"epoch {final['best_on_test']['epoch']} (best on test)"
    typer.echo(table({f"epoch {final['last']['epoch']} (last)": final["last"], best: final["best_on_test"]}))
    typer.echo(f"record: {out / 'record.json'}")


@app.command()
def evaluate(
    run_dir: Annotated[Path, typer.Argument(help="Run directory of `train`.")],
    posthoc: Annotated[str | None, typer.Option(help="adjust or rebalance.")] = None,
    tau: Annotated[float, typer.Option(help="Strength of the post-hoc adjustment.")] = 1.0,
    data_root: DataRoot = None,
    device: Device = "auto",
) -> None:
    """Test a finished run from its checkpoint, plain or after a post-hoc adjustment."""
    from lt_core.training import evaluate as run

    name = "last epoch" if posthoc is None else f"last epoch, {posthoc} (tau {tau:g})"
    result = run(run_dir, posthoc, tau, data_root, device)
    typer.echo(table({name: result}))
    if result["ece"] is not None:
        typer.echo(f"balanced error {result['balanced_error']:.2f}, ECE {result['ece']:.2f} (percent)")
    if posthoc == "rebalance":
        typer.echo("note: re-balancing uses the predictions of the whole test set at once")


def main() -> None:
    """Run the command line; an expected error is one line on stderr and a non-zero exit."""
    from lt_core.data import DataError
    from lt_core.records import RecordError
    from lt_core.training import CheckpointError, TrainingError

    try:
        code = app(standalone_mode=False, prog_name="python -m lt_core")
    except (ValueError, TypeError, OSError, DataError, RecordError, CheckpointError, TrainingError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("error: interrupted", err=True)
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        typer.echo(f"error: {error.format_message()}", err=True)  # a wrong option or a missing argument
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
