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
Precision = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16: of the forward pass.")]


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


def check_alone(context: typer.Context) -> None:
    """Raise if ``train --config`` came with an option that the file decides."""
    decides = (
        "loss", "loss_option", "drw", "dataset", "imbalance_factor", "backbone", "classifier", "recipe", "epochs",
        "batch_size", "seed", "subset_seed", "class_order",
    )  # fmt: skip
    given = []
    for name in decides:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            given.append("--" + name.replace("_", "-"))
    if given:
        raise ValueError(f"--config is given together with {', '.join(given)}; the file decides these")


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
    source: Annotated[str | None, typer.Option(help="With --download: toronto (default) or huggingface.")] = None,
    dataset: Annotated[
        str, typer.Option(help="cifar100_lt, cifar10_lt, cifar100_lt_tuning or synthetic.")
    ] = "cifar100_lt",
    imbalance_factor: Annotated[float, typer.Option(help="Largest class over smallest.")] = 100,
) -> None:
    """Fetch the data, verify it (checksums of files and pixels) and show the class counts."""
    from lt_core.data import SOURCES, load_dataset
    from lt_core.metrics import shot_groups

    if source is not None and not download:
        raise ValueError(f"--source is {source!r} without --download; it says where to download from")
    place = SOURCES[0] if source is None else source
    loaded = load_dataset(dataset, root, imbalance_factor=imbalance_factor, download=download, source=place)
    counts = loaded.class_counts
    sizes = {name: int(mask.sum()) for name, mask in shot_groups(counts).items() if name != "all"}
    typer.echo(f"{dataset}, imbalance factor {imbalance_factor:g}: files verified")
    typer.echo(f"{sum(counts)} training and {len(loaded.test_targets)} test images of {len(counts)} classes")
    typer.echo(f"largest class {max(counts)}, smallest {min(counts)} images")
    typer.echo("classes: " + ", ".join(f"{name} {size}" for name, size in sizes.items()))
    typer.echo("counts: " + " ".join(str(n) for n in counts))


@app.command()
def train(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Run directory; must not hold a run.")],
    config_file: Annotated[
        Path | None, typer.Option("--config", help="YAML file or record.json; replaces --loss to --class-order.")
    ] = None,
    loss: Annotated[str, typer.Option(help="ce, focal, cb, ldam, la, balanced_softmax, ala or gala.")] = "ce",
    loss_option: Annotated[list[str] | None, typer.Option(help="name=value; may be repeated.")] = None,
    drw: Annotated[bool, typer.Option("--drw", help="Deferred re-weighting in the last fifth.")] = False,
    dataset: Annotated[
        str, typer.Option(help="cifar100_lt, cifar10_lt, cifar100_lt_tuning or synthetic.")
    ] = "synthetic",
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
    compile: Annotated[str, typer.Option(help="auto, on or off: torch.compile for the step.")] = "auto",
    precision: Precision = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out, or start.")] = False,
    checkpoint_every: Annotated[int, typer.Option(help="Epochs between two checkpoints.")] = 1,
    download: Annotated[bool, typer.Option("--download", help="Fetch the data where it is missing.")] = False,
) -> None:
    """Train one configuration; write record.json, history.csv and checkpoints. Runs under torchrun too."""
    from lt_core.training import RunConfig
    from lt_core.training import train as run
    from lt_core.training.distributed import is_first

    if config_file is not None:
        from lt_core.training.configs import load_config

        check_alone(context)
        config = load_config(config_file)
    else:
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
    record = run(
        config,
        out,
        data_root,
        device,
        progress=sys.stderr.isatty(),
        download=download,
        resume=resume,
        compile=compile,
        precision=precision,
        checkpoint_every=checkpoint_every,
    )
    if not is_first():
        return
    final = record["final"]
    best = f"epoch {final['best_on_test']['epoch']} (best on test)"
    typer.echo(table({f"epoch {final['last']['epoch']} (last)": final["last"], best: final["best_on_test"]}))
    typer.echo(f"record: {out / 'record.json'}")


@app.command()
def grid(
    file: Annotated[Path, typer.Argument(help="YAML file: defaults, and a list of runs.")],
    out: Annotated[Path, typer.Option(help="Folder of the grid; finished runs in it are skipped.")],
    jobs: Annotated[int | None, typer.Option(help="Runs at a time; default: the fastest in a short trial.")] = None,
    data_root: DataRoot = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Train a grid of configurations and seeds, several at a time. The same command goes on where it was stopped."""
    from lt_core.training.grid import run_grid
    from lt_core.training.progress import status_table

    try:
        runs = run_grid(file, out, jobs, device, data_root, precision)
    except KeyboardInterrupt:
        typer.echo(f"error: interrupted; {out / 'status.csv'} says how far, and the same command goes on", err=True)
        raise typer.Exit(130) from None
    typer.echo(status_table(runs))
    if any(run.state == "failed" for run in runs):
        raise typer.Exit(1)


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


@app.command()
def report(
    results: Annotated[Path, typer.Argument(help="Folder with RECIPE/RUN/record.json, as `grid` leaves it.")],
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("report"),
) -> None:
    """Write every table (Markdown, LaTeX, CSV) and figure (PNG) of the experiments that the records allow."""
    from lt_core.report import write_report

    for line in write_report(results, out):
        typer.echo(line)


@app.command()
def collect(
    runs: Annotated[Path, typer.Argument(help="What `grid` wrote: RECIPE/RUN/record.json.")],
    into: Annotated[Path, typer.Option(help="Folder for the records, such as book/results/study.")],
    arrays: Annotated[list[str] | None, typer.Option(help="RECIPE/RUN whose probabilities are kept too.")] = None,
) -> None:
    """Copy the finished runs' records, without checkpoints and histories, to where they are kept."""
    from lt_core.records import collect as run

    for line in run(runs, into, arrays or []):
        typer.echo(line)


@app.command()
def bench(
    device: Device = "auto",
    seconds: Annotated[float, typer.Option(help="Seconds of measuring in each part.")] = 60.0,
    only: Annotated[
        str | None,
        typer.Option(
            help="augment, step, losses or floor; default: all four. Or divergence: train every loss with five seeds "
            "for 30 epochs; fails if a run diverges."
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data of the divergence part; default: the example data.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Measure augmentation, training step and losses against the usual loop, side by side, and the device's floor."""
    import json

    from lt_core.bench import EXAMPLE, measure, report
    from lt_core.records import write_atomically

    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("a").close()  # a place that cannot be written fails now, not after the measuring
    tables = []
    try:
        for part in measure(device, seconds, only, dataset=dataset or EXAMPLE):
            typer.echo(part.text() + "\n")
            tables.append(part)
    finally:  # what was measured before an error is kept
        if out is not None and tables:
            write_atomically(out, json.dumps(report(tables, device), indent=1, ensure_ascii=False) + "\n")


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
