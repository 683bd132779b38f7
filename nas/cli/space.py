"""`nas space`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nas.cli.group import READING, plugin_option, reading_options, targets_option
from nas.counts import large

if TYPE_CHECKING:
    from nas.space import Space


@click.command("space")
@click.argument("space", required=False)
@click.option(
    "--samples",
    type=click.IntRange(min=0),
    help="Random architectures, shown (5) or priced (60).",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--yaml", "as_yaml", is_flag=True, help="Print it as a space file instead.")
@click.option("--python", "as_python", is_flag=True, help="Print it as Python source instead.")
@click.option("--unchecked", is_flag=True, help="Do not check parts and fields (which loads torch).")
@click.option(
    "-b", "--budget", "budgets", multiple=True, help="Say what share of random samples keeps it; repeat for several."
)
@click.option("--prices", is_flag=True, help="Say what random samples cost; --budget does too.")
@targets_option("Where to measure their latency; repeat for several.  [default: onnxruntime]")
@reading_options
@click.option("--shape", metavar="SIZES", help="Instead of data: one sample, e.g. 3,32,32.")
@click.option("--classes", type=click.IntRange(min=1), help="With --shape: the number of outputs.  [default: 10]")
@plugin_option
@click.option("-t", "--time-limit", metavar="TIME", help="No sample is begun after this.  [default: 60s]")
def space_command(
    space: str | None,
    samples: int | None,
    seed: int,
    as_yaml: bool,
    as_python: bool,
    unchecked: bool,
    **priced: Any,
) -> None:
    """Show SPACE: its tree, its size, and some random architectures. Without SPACE: the names of those shipped.

    With --budget or --prices random architectures are priced, as a search does before any training, instead of shown:
    what share of them keeps the budgets, and what they cost. Exit code 1 where none keeps all of them.
    """
    from nas.catalog import find_space, shipped
    from nas.objectives import Budget
    from nas.rng import generator
    from nas.space import Group
    from nas.space.tree import count
    from nas.space.write import outline

    given = {name: value for name, value in priced.items() if value}
    pricing = bool(priced["budgets"] or priced["prices"])
    if given and not pricing:
        option = next(iter(given)).removesuffix("s" if "targets" in given else "").replace("_", "-")
        raise click.UsageError(f"--{option} is for prices; add --prices, or a --budget")
    if pricing and (space is None or as_yaml or as_python):
        raise click.UsageError("--budget and --prices need a SPACE, and go without --yaml and --python")
    if pricing and samples == 0:
        raise click.UsageError("--samples is at least 1 where they are priced")
    if space is None:
        for name, file in shipped().items():
            click.echo(f"{name:12} {file.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        return
    for budget in priced["budgets"]:
        Budget.parse(budget)
    found = find_space(space)
    if not unchecked or pricing:
        from nas.study.check import check_space

        check_space(found)
    if as_yaml or as_python:
        click.echo(found.to_yaml() if as_yaml else found.to_python(), nl=False)
        return
    rng = generator(seed, "samples")
    drawn = [] if pricing else [found.sample(rng) for _ in range(5 if samples is None else samples)]
    click.echo(outline(found))
    networks = count(
        Group({name: node for name, node in found.root.fields.items() if name not in ("training", "deploy")})
    )[0]
    click.echo()
    at_most = "at most " if found.bounded else ""
    combinations, continuous = found.count()
    click.echo(
        f"{at_most}{large(networks)} networks; {at_most}{large(combinations)} combinations with training, "
        f"times {continuous} continuous parameters; {len(found.slots)} parameters in all"
    )
    for i, arch in enumerate(drawn):
        click.echo(f"\nsample {i}")
        for path, value in arch.values.items():
            click.echo(f"  {path} = {str(value).lower() if isinstance(value, bool) else value}")
    if pricing:
        click.echo()
        _preview(found, 60 if samples is None else samples, seed, given)


def _preview(space: Space, samples: int, seed: int, given: dict[str, Any]) -> None:
    """Price random samples and say what share of them keeps the budgets; end with exit code 1 where none does."""
    from nas.durations import readable, seconds
    from nas.measure.onnx_file import read_shape
    from nas.measure.open import noticed
    from nas.study.config import StudyConfig
    from nas.study.meters import names_of
    from nas.study.preview import preview, stand_in
    from nas.study.session import load_data
    from nas.tables import print_preview

    if "shape" in given and given.keys() & set(READING):
        raise click.UsageError("--shape is there instead of --data")
    if "classes" in given and "shape" not in given:
        raise click.UsageError("--classes goes with --shape; data say themselves how many they have")
    targets = names_of(given.get("targets", ("onnxruntime",)))
    chosen = {name: given[name] for name in ("budgets", *READING) if name in given}
    config = StudyConfig(space=space, objectives=tuple(targets), runtime=targets["latency_ms"], seed=seed, **chosen)
    shape = given.get("shape")
    task = load_data(config, code=True) if shape is None else stand_in(read_shape(shape), given.get("classes", 10))
    found = preview(config, task, samples=samples, seconds=seconds(given.get("time_limit", "60s")))
    n = len(found.candidates)
    asked = "" if n == samples else f" of {samples} asked for (--time-limit)"
    click.echo(
        f"{n} random samples{asked} on {task.name}, shape {task.in_shape}, {task.n_outputs} outputs: "
        f"{found.n_networks} different networks, priced in {readable(found.seconds)}"
    )
    for times, problem in (problems := found.problems())[:3]:
        click.echo(f"  {times} of {n} {problem}")
    if more := sum(times for times, _ in problems[3:]):
        click.echo(f"  {more} of {n} for {len(problems) - 3} other reasons")
    print_preview(found)
    for line in (line for meter in found.meters for line in noticed(meter)):
        click.echo(line, err=True)
    if found.budgets and not found.keeping(found.budgets).n:
        if (near := found.nearest(found.budgets)) is not None:
            figures = ", ".join(f"{b.objective} {near[0].prices[b.objective].value:.4g}" for b in found.budgets)
            click.echo(f"none keeps every budget; the nearest is {near[1]:.3g} times beyond: {figures}", err=True)
        raise SystemExit(1)
