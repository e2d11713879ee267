"""The commands of ``python -m lt_core``: parse, call, print."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from lt_core import methods as field_map
from lt_core.data import DATASETS, EMBEDDED, FILE_LISTS, SIZED
from lt_core.data.augment import AUGMENTATIONS
from lt_core.data.mixing import MIXINGS
from lt_core.data.sampling import SAMPLERS
from lt_core.data.streaming import RESIZED_CROPS
from lt_core.losses import LOSS_NAMES, loss_options
from lt_core.models import BACKBONES, CLASSIFIERS
from lt_core.models.backbones import TORCHVISION
from lt_core.scores import KINDS
from lt_core.training import RECIPES
from lt_core.training.devices import COMPILE, PRECISIONS

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Long-tailed recognition: data, training and evaluation behind the book.",
)


class Interrupted(Exception):
    """Ctrl-C, with what can be said about it."""


def one_of(names: Iterable[str]) -> str:
    """``"a, b or c"``."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


def options_help() -> str:
    """The options of every loss; ``weight`` and ``reduction``, which a run sets itself, are left out."""
    names = {loss: [o for o in loss_options(loss) if o not in ("weight", "reduction")] for loss in LOSS_NAMES}
    listed = "; ".join(f"{loss}: {', '.join(options)}" for loss, options in names.items() if options)
    return f"name=value; may be repeated. {listed}."


def path(text: str | Path) -> Path:
    """A path; an empty one, which a shell makes of an unset variable, would mean the current folder.

    Typer also hands in an option's default, which is a path already.
    """
    if not str(text).strip():
        raise typer.BadParameter("a path is empty (an unset variable?); name a file or folder, or . for this one")
    return Path(text)


def path_option(help: str, *names: str) -> Any:
    """An option that takes a file or a folder."""
    return typer.Option(*names, parser=path, metavar="<path>", help=help)


DataRoot = Annotated[Path | None, path_option("Folder or file of the data; default: LT_DATA_ROOT.", "--data-root")]
ImbalanceFactor = Annotated[
    float | None, typer.Option(help="Largest class over smallest; default: 100. Data of one's own have theirs.")
]
ImageSize = Annotated[
    int | None, typer.Option(help=f"Pixels of a side, with --dataset {one_of(SIZED)}; default: the recipe's, or 32.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Precision = Annotated[str, typer.Option(help=f"{one_of(PRECISIONS)}: of the forward pass.")]
TestEvery = Annotated[int | None, typer.Option(help="Epochs between two tests: 1 (default), 2, 5 or 10.")]


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """``["gamma=1.5", "form=formula"]`` to a mapping; a value means what it means in a YAML file of ours."""
    from lt_core.training.configs import parse_value

    options: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise ValueError(f"--loss-option is {pair!r}; allowed is name=value")
        if name in options:
            raise ValueError(f"--loss-option names {name!r} twice")
        options[name] = parse_value(value)
    return options


def parse_order(text: str) -> tuple[int, ...]:
    """``"3,0,1"`` to a tuple of labels."""
    labels = []
    for part in text.split(","):
        try:
            labels.append(int(part))
        except ValueError:  # the part alone: the whole order of 8,142 classes fills the screen
            raise ValueError(f"--class-order has {part[:40]!r}; allowed are labels separated by commas") from None
    return tuple(labels)


def check_alone(context: typer.Context) -> None:
    """Raise if ``train --config`` came with an option that the file decides."""
    decides = (
        "loss", "loss_option", "drw", "dataset", "imbalance_factor", "image_size", "backbone", "classifier", "recipe",
        "epochs", "batch_size", "seed", "subset_seed", "class_order", "method", "sampler", "mixing", "augmentation",
        "pretrained",
    )  # fmt: skip
    given = []
    for name in decides:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            given.append("--" + name.replace("_", "-"))
    if given:
        raise ValueError(f"--config is given together with {', '.join(given)}; the file decides these")


def check_method_alone(context: typer.Context, method: str | None) -> None:
    """Raise if ``train --method`` came with an option that the method decides."""
    if method is None:
        return
    given = [f"--{name.replace('_', '-')}" for name in ("loss", "loss_option", "drw", "classifier", "sampler", "mixing")
             if getattr(context.get_parameter_source(name), "name", "DEFAULT") != "DEFAULT"]  # fmt: skip
    if given:
        raise ValueError(f"--method is given together with {', '.join(given)}; the method decides these")


def table(rows: Mapping[str, Mapping[str, Any]], differences: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Accuracies in percent as an aligned text table, one row per entry; ``differences``, with a sign, come last."""
    import pandas as pd

    columns = ["top1", "many", "medium", "few"]
    cells = {}
    for form, entries in ((".2f", rows), ("+.2f", differences or {})):
        for name, row in entries.items():
            cells[name] = ["–" if row[c] is None else format(row[c], form) for c in columns]
    return pd.DataFrame.from_dict(cells, orient="index", columns=columns).to_string()


@app.command()
def data(
    root: Annotated[
        Path | None, path_option("Folder of the data; default: LT_DATA_ROOT.", "--root", "--data-root")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch what is missing.")] = False,
    source: Annotated[str | None, typer.Option(help="With --download: toronto (default) or huggingface.")] = None,
    dataset: Annotated[str, typer.Option(help=f"{one_of(DATASETS)}.")] = "cifar100_lt",
    imbalance_factor: ImbalanceFactor = None,
    image_size: ImageSize = None,
    check: Annotated[
        bool, typer.Option("--check", help=f"With --dataset {one_of(SIZED)}: open every image, say all that is wrong.")
    ] = False,
) -> None:
    """Fetch the data, verify it (checksums of files and pixels) and show the class counts."""
    from lt_core.data import AS_THEY_ARE, SOURCES, load_dataset

    if check:
        if download or source is not None or imbalance_factor is not None or image_size is not None:
            raise ValueError("--check opens the files as they are; besides it, --dataset and --root alone are used")
        check_data(dataset, root)
        return

    if source is not None and not download:
        raise ValueError(f"--source is {source!r} without --download; it says where to download from")
    place = SOURCES[0] if source is None else source
    loaded = load_dataset(dataset, root, imbalance_factor, download=download, source=place, image_size=image_size)
    verified = "" if dataset in (*EMBEDDED, *AS_THEY_ARE) else ": files verified"
    counts = loaded.class_counts
    factor = max(counts) / min(counts) if dataset in AS_THEY_ARE else imbalance_factor or 100
    typer.echo(f"{dataset}, imbalance factor {factor:g}{verified}")
    describe_counts(counts, len(loaded.test_targets), "features" if loaded.has_features else "images")


def describe_counts(counts: list[int], tested: int, what: str) -> None:
    """The lines on a data set's class counts."""
    from lt_core.metrics import shot_groups

    sizes = {name: int(mask.sum()) for name, mask in shot_groups(counts).items() if name != "all"}
    typer.echo(f"{sum(counts)} training and {tested} test {what} of {len(counts)} classes")
    typer.echo(f"largest class {max(counts)}, smallest {min(counts)} {what}")
    typer.echo("classes: " + ", ".join(f"{name} {size}" for name, size in sizes.items()))
    shown = counts if len(counts) <= 100 else [*counts[:50], "…", *counts[-10:]]
    typer.echo("counts: " + " ".join(str(n) for n in shown))


def check_data(dataset: str, root: Path | None) -> None:
    """``data --check``."""
    from lt_core.data import data_root
    from lt_core.data.filelist import scan_lists
    from lt_core.data.folder import damaged, scan

    if dataset not in SIZED:
        raise ValueError(f"--check is for --dataset {one_of(SIZED)}; the files of {dataset!r} are always verified")
    place = data_root(root)
    listing = scan_lists(dataset, place) if dataset in FILE_LISTS else scan(place)
    faults = [*listing.faults, *damaged(listing)]
    for line in faults:
        typer.echo(f"fault: {line}", err=True)
    for line in listing.notes:
        typer.echo(f"note: {line}")
    counts = listing.counts("train")
    if len(counts) > 1 and min(counts) > 0:
        typer.echo(f"{dataset}, imbalance factor {max(counts) / min(counts):g}")
        describe_counts(counts, len(listing.test), "images")
    typer.echo(f"{len(faults)} faults" if faults else "no faults: every image can be read")
    if faults:
        raise typer.Exit(1)


@app.command()
def train(
    context: typer.Context,
    out: Annotated[Path, path_option("Run directory; must not hold a run, unless with --resume.")],
    config_file: Annotated[
        Path | None, path_option("YAML file or record.json with the whole configuration, seeds included.", "--config")
    ] = None,
    loss: Annotated[str, typer.Option(help=f"{one_of(LOSS_NAMES)}.")] = "ce",
    loss_option: Annotated[list[str] | None, typer.Option(help=options_help())] = None,
    drw: Annotated[bool, typer.Option("--drw", help="Deferred re-weighting in the last fifth.")] = False,
    method: Annotated[
        str | None, typer.Option(help="A name of `methods`; decides loss, classifier, sampler, mixing and procedure.")
    ] = None,
    base: Annotated[
        Path | None,
        path_option("Finished first stage that a second one starts from; default: train it first.", "--from"),
    ] = None,
    sampler: Annotated[str, typer.Option(help=f"{one_of(SAMPLERS)}: which images an epoch sees.")] = "uniform",
    mixing: Annotated[str, typer.Option(help=f"{one_of(MIXINGS)}: mixtures of two images.")] = "none",
    dataset: Annotated[str, typer.Option(help=f"{one_of(DATASETS)}.")] = "digits_lt",
    imbalance_factor: ImbalanceFactor = None,
    image_size: ImageSize = None,
    backbone: Annotated[str | None, typer.Option(help=f"{one_of(BACKBONES)}; default: the recipe's.")] = None,
    classifier: Annotated[str | None, typer.Option(help=f"{one_of(CLASSIFIERS)}; default: the loss's.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help=f"{one_of(RECIPES)}; default: the data set's own, else plain.")
    ] = None,
    augmentation: Annotated[
        str | None, typer.Option(help=f"{one_of((*AUGMENTATIONS, *RESIZED_CROPS))}; default: the recipe's.")
    ] = None,
    pretrained: Annotated[
        bool | None, typer.Option(help="Begin with torchvision's weights (its backbones); default: the recipe's.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Default: the recipe's. A first stage that is trained first has the same.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of initialisation, order and augmentation.")] = 0,
    subset_seed: Annotated[int, typer.Option(help="Seed of the subset; 0 is the canonical one.")] = 0,
    class_order: Annotated[str | None, typer.Option(help="Labels from largest to smallest class: 3,0,1,…")] = None,
    data_root: DataRoot = None,
    device: Device = "auto",
    compile: Annotated[str, typer.Option(help=f"{one_of(COMPILE)}: torch.compile for the step.")] = "auto",
    precision: Precision = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out, or start.")] = False,
    checkpoint_every: Annotated[int, typer.Option(help="Epochs between two checkpoints.")] = 1,
    test_every: TestEvery = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the data where it is missing.")] = False,
    compare: Annotated[
        list[Path] | None, path_option("A finished run on the same data, to print beside; may be repeated.")
    ] = None,
) -> None:
    """Train one configuration; write record.json, history.csv and checkpoints. Runs under torchrun too."""
    from lt_core import records
    from lt_core.report.comparison import check_comparable, comparison
    from lt_core.training import RunConfig
    from lt_core.training import train as run
    from lt_core.training.checkpoint import LAST
    from lt_core.training.configs import load_config, run_directory
    from lt_core.training.devices import cpu_has_bfloat16, pick_device
    from lt_core.training.distributed import is_first

    first = None if base is None else RunConfig.from_stored(records.load(base)["config"])
    if config_file is not None:
        check_alone(context)
        config = load_config(config_file)
    else:
        check_method_alone(context, method)
        config = RunConfig(
            method=method,
            base=None if first is None else run_directory(first),
            sampler=sampler,
            mixing=mixing,
            dataset=dataset,
            loss=loss,
            loss_options=parse_options(loss_option or []),
            drw=drw,
            recipe=recipe,
            imbalance_factor=imbalance_factor,
            image_size=image_size,
            backbone=backbone,
            classifier=classifier,
            augmentation=augmentation,
            pretrained=pretrained,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            subset_seed=subset_seed,
            class_order=None if class_order is None else parse_order(class_order),
        )
    others = {str(place): records.load(place) for place in compare or []}
    check_comparable(config, others)  # before the training, not after it
    finished_before = resume and (out / "record.json").exists()
    if first is not None and first.seed != config.seed and is_first():
        typer.echo(f"note: the base in {base} has seed {first.seed}, this run has seed {config.seed}")
    chosen_here = precision == "auto" and not (resume and (out / LAST).exists())  # a checkpoint has its own
    if chosen_here and pick_device(device).type == "cpu" and cpu_has_bfloat16() and is_first():
        typer.echo("note: this CPU has bfloat16, and the forward pass uses it; --precision float32 is slower")
    try:
        record = run(
            config,
            out,
            data_root,
            device,
            progress=True if sys.stderr.isatty() else "lines",
            download=download,
            resume=resume,
            compile=compile,
            precision=precision,
            checkpoint_every=checkpoint_every,
            test_every=test_every,
            base=base,
        )
    except KeyboardInterrupt:
        if not is_first():
            raise typer.Exit(130) from None
        same = "the same command" if resume else "the same command with --resume"
        begun = f"{same} goes on from the last checkpoint in {out}"
        raise Interrupted(begun if (out / LAST).exists() else "there was no checkpoint yet") from None
    if not is_first():
        return
    final = record["final"]
    best = f"epoch {final['best_on_test']['epoch']} (best on test)"
    rows, differences, notes = comparison(record, others)
    own = {f"epoch {final['last']['epoch']} (last)": final["last"], best: final["best_on_test"]}
    typer.echo(table(own | rows, differences))
    if finished_before:
        notes = ["the run was finished already; nothing was trained", *notes]
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"record: {out / 'record.json'}")


@app.command()
def methods(
    as_json: Annotated[bool, typer.Option("--json", help="Everything that is known of each, as a JSON list.")] = False,
) -> None:
    """The map of the field: every method, what it changes, its paper, and whether it trains here."""
    import json

    import pandas as pd

    rows = list(field_map.METHODS.values())
    if as_json:
        typer.echo(json.dumps([row.to_dict() for row in rows], indent=1, ensure_ascii=False))
        return
    shown = pd.DataFrame(
        [
            {
                "method": row.name,
                "title": row.title,
                "paper": row.citation,
                "ch.": row.chapter,
                "fidelity": row.fidelity,
                "changes": ", ".join(row.changes) or "–",
            }
            for row in rows
        ]
    )
    widths = {str(name): int(shown[name].str.len().max()) for name in shown}
    aligned = {name: f"{{:<{width}}}".format for name, width in widths.items()}
    text = shown.to_string(index=False, justify="left", formatters=aligned)
    typer.echo("\n".join(line.rstrip() for line in text.splitlines()))
    for row in rows:
        if row.same_as is not None:
            typer.echo(f"{row.name} is the same function as {row.same_as}")
        if not row.trains:
            typer.echo(f"{row.name} does not train: {row.reason}")


@app.command()
def grid(
    file: Annotated[Path, typer.Argument(help="YAML file: defaults, and a list of runs.", parser=path, metavar="FILE")],
    out: Annotated[Path, path_option("Folder of the grid; finished runs in it are skipped.")],
    jobs: Annotated[int | None, typer.Option(help="Runs at a time; default: the fastest in a short trial.")] = None,
    data_root: DataRoot = None,
    device: Device = "auto",
    precision: Precision = "auto",
    test_every: TestEvery = None,
) -> None:
    """Train a grid of configurations and seeds, several at a time. The same command goes on where it was stopped."""
    from lt_core.training.grid import run_grid
    from lt_core.training.progress import status_table

    try:
        runs = run_grid(file, out, jobs, device, data_root, precision, test_every or 1)
    except KeyboardInterrupt:
        raise Interrupted(f"{out / 'status.csv'} says how far, and the same command goes on") from None
    typer.echo(status_table(runs))
    if any(run.state == "failed" for run in runs):
        raise typer.Exit(1)


@app.command()
def evaluate(
    run_dir: Annotated[
        Path | None, typer.Argument(help="Run directory of `train`.", parser=path, metavar="RUN_DIR")
    ] = None,
    posthoc: Annotated[str | None, typer.Option(help="adjust or rebalance.")] = None,
    tau: Annotated[float | None, typer.Option(help="Strength of the post-hoc adjustment; default: 1.")] = None,
    html: Annotated[
        Path | None, path_option("HTML file for a report: classes, confusions, calibration, advice.")
    ] = None,
    scores: Annotated[
        Path | None, path_option("In place of a run: CSV file with a column label, and one a class with its score.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help=f"{one_of(KINDS)}; default: told from the scores.")] = None,
    counts: Annotated[
        Path | None, path_option("CSV file with label and count, the training images of each class of --scores.")
    ] = None,
    data_root: DataRoot = None,
    device: Device = "auto",
) -> None:
    """Test a finished run from its checkpoint, or anyone's scores; plain, after an adjustment, or as an HTML report."""
    if (run_dir is None) == (scores is None):
        raise ValueError("evaluate needs a run directory or --scores, and not both")
    if run_dir is None:
        assert scores is not None
        if posthoc is not None or tau is not None:
            raise ValueError("--posthoc and --tau are for a run; of scores, the report of --html has every adjustment")
        if html is None:
            raise ValueError("--scores needs --html, the file for the report")
        if data_root is not None or device != "auto":
            raise ValueError("--data-root and --device are for a run; scores need neither")
        evaluate_scores(scores, kind, counts, html)
        return
    if kind is not None or counts is not None:
        raise ValueError("--kind and --counts are for --scores; a run has its own")
    if html is not None and (posthoc is not None or tau is not None):
        raise ValueError("--html has every adjustment; leave out --posthoc and --tau")
    if html is not None:
        evaluate_page(run_dir, html, data_root, device)
        return
    from lt_core.training import evaluate as run

    name = "last epoch" if posthoc is None else f"last epoch, {posthoc} (tau {1.0 if tau is None else tau:g})"
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", UserWarning)
        result = run(run_dir, posthoc, tau, data_root, device)
    typer.echo(table({name: result}))
    if result["ece"] is not None:
        typer.echo(f"balanced error {result['balanced_error']:.2f}, ECE {result['ece']:.2f} (percent)")
    for note in notes:
        typer.echo(f"note: {note.message}")
    if posthoc == "rebalance":
        typer.echo("note: re-balancing uses the predictions of the whole test set at once")


def evaluate_scores(scores: Path, kind: str | None, counts: Path | None, html: Path) -> None:
    """``evaluate --scores``."""
    from lt_core.report.own_page import Source, write_page
    from lt_core.scores import read_counts, read_scores

    read = read_scores(scores, kind)
    images = None if counts is None else read_counts(counts, read.class_names)
    source = Source(f"Scores of {scores.name}", notes=read.notes)
    write_page(html, read.log_probabilities, read.labels, read.class_names, images, source)
    for note in read.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"report: {html}")


def evaluate_page(run_dir: Path, html: Path, data_root: Path | None, device: str) -> None:
    """``evaluate RUN --html``."""
    from lt_core.report.own_page import write_run_page

    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", UserWarning)
        write_run_page(html, run_dir, data_root, device)
    for note in notes:
        typer.echo(f"note: {note.message}")
    typer.echo(f"report: {html}")


@app.command()
def features(
    out: Annotated[Path, path_option("File for the features, .npz.")],
    backbone: Annotated[str, typer.Option(help=f"{one_of(TORCHVISION)}.")] = "resnet50",
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="With torchvision's weights from ImageNet-1k; else random ones.")
    ] = False,
    data_root: DataRoot = None,
    device: Device = "auto",
) -> None:
    """Write a network's features of a folder of images to a file, for train --dataset features."""
    from lt_core.data import data_root as place
    from lt_core.training.extraction import extract

    if out.suffix != ".npz":
        raise ValueError(f"--out is {str(out)!r}; a name that ends in .npz is needed")
    made = extract(place(data_root), out, backbone, pretrained, device, progress=sys.stderr.isatty())
    typer.echo(f"{made['train']} training and {made['test']} test images, {made['dimension']} features each: {out}")
    if not pretrained:
        typer.echo("note: the network has random weights; --pretrained takes those of ImageNet-1k")


@app.command()
def report(
    results: Annotated[
        Path,
        typer.Argument(help="Folder with RECIPE/RUN/record.json, as `grid` leaves it.", parser=path, metavar="RESULTS"),
    ],
    out: Annotated[Path, path_option("Folder for the files.")] = Path("report"),
) -> None:
    """Write every table (Markdown, LaTeX, CSV) and figure (PNG) of the experiments that the records allow."""
    from lt_core.report import write_report

    for line in write_report(results, out):
        typer.echo(line)


@app.command()
def collect(
    runs: Annotated[
        Path, typer.Argument(help="What `grid` wrote: RECIPE/RUN/record.json.", parser=path, metavar="RUNS")
    ],
    into: Annotated[Path, path_option("Folder for the records, such as book/results/study.")],
    arrays: Annotated[list[str] | None, typer.Option(help="RECIPE/RUN whose probabilities are kept too.")] = None,
) -> None:
    """Copy the finished runs' records, without checkpoints and histories, to where they are kept.

    Inside the book, the page that lists all records is written anew. A record that cannot be kept is named and left.
    """
    from lt_core.records import collect as run
    from lt_core.report import write_reproducibility

    copied, left = run(runs, into, arrays or [])
    for line in copied:
        typer.echo(line)
    if (page := write_reproducibility(into)) is not None:
        typer.echo(str(page))
    for line in left:
        typer.echo(f"left out: {line}", err=True)
    if left:
        raise typer.Exit(1)


@app.command()
def bench(
    device: Device = "auto",
    seconds: Annotated[float, typer.Option(help="Seconds of measuring in each part.")] = 60.0,
    only: Annotated[
        str | None,
        typer.Option(
            help="augment, step, losses, floor, reading or features; default: all. Or divergence: train every loss "
            "with five seeds for 30 epochs; fails if a run diverges."
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data of the divergence part; default: the example data.")] = None,
    out: Annotated[Path | None, path_option("JSON file for the figures.")] = None,
) -> None:
    """Measure augmentation, reading, training step and losses against what is usual, side by side, and the floor."""
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
    from lt_core.files import explain
    from lt_core.models.backbones import WeightsError
    from lt_core.records import RecordError
    from lt_core.scores import ScoresError
    from lt_core.training import CheckpointError, TrainingError

    try:
        code = app(standalone_mode=False, prog_name="python -m lt_core")
    except OSError as error:
        fail(f"{error.filename}: {explain(error)}" if error.filename else explain(error))
    except (ValueError, TypeError) as error:
        fail(str(error))
    except (DataError, WeightsError, RecordError, ScoresError, CheckpointError, TrainingError) as error:
        fail(str(error))
    except (Interrupted, KeyboardInterrupt, typer.Abort) as error:
        fail(f"interrupted; {error}" if str(error) else "interrupted", 130)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        if not error.format_message():  # no command: the help has been printed
            sys.exit(2)
        fail(error.format_message(), 2)  # a wrong option or a missing argument
    if code == 130:  # Ctrl-C, where Typer has made an exit status of it
        fail("interrupted", 130)
    sys.exit(code if isinstance(code, int) else 0)


def fail(message: str, code: int = 1) -> NoReturn:
    """Print the error in a line and end."""
    typer.echo(f"error: {message}", err=True)
    sys.exit(code)
