"""``ffbench models``: what is shipped, what can be trained, whose weights can be used, and what each needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

NEEDS = "needs "  # a state that says how to get a package

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)


@app.callback()
def shipped(context: typer.Context) -> None:
    """List the shipped reference models; `ffbench models list` says more."""
    if context.invoked_subcommand is None:
        from . import list_models

        for name in list_models():
            typer.echo(name)


@app.command("list")
def list_all() -> None:
    """Every model: shipped, trainable, published; installed, or the one command to get it."""
    from . import list_models, provider

    made_with = {name: provider(name) for name in list_models()}
    shipped = [(n, "shipped", "", "ready" if p is None else _state(p), "MIT") for n, p in made_with.items()]
    every = shipped + rows()
    needs = list(dict.fromkeys(row[3] for row in every if row[3].startswith(NEEDS)))
    wide = max(len(row[0]) for row in every)
    for name, kind, _, state, licence in every:
        said = f"needs ({needs.index(state) + 1})" if state in needs else state
        typer.echo(f"{name:{wide}} {kind.split()[-1]:7} {licence:12} {said}")
    typer.echo("")
    for k, state in enumerate(needs, 1):
        typer.echo(f"({k}) {state.removeprefix(NEEDS)}")
    typer.echo("All packages together, as tested:\n  pip install --no-deps -r reference_models/providers/lock.txt")


def rows() -> list[tuple[str, str, str, str, str]]:
    """(name, kind, package, state, licence) of every family and every model with published weights."""
    from . import all_families
    from .providers import providers, published
    from .providers.ani import WEIGHTS, info

    served = {f: p for p in providers().values() for f in p.families}
    out = []
    for name in all_families():
        p = served.get(name)
        if p is None:
            out.append((name, "family", "", "ready", "MIT"))
        else:
            out.append((name, "family", p.package, _state(p), p.licence))
    for name, row in published().items():
        p = providers()[row.provider]
        state = _state(p).replace("fetch ani1x", f"fetch {name}")
        if name in WEIGHTS and p.installed and not info(name).exists():
            state = f"weights missing: ffbench models fetch {name}"
        out.append((name, "published weights", p.package, state, row.card["licence"]))
    return out


def _state(provider: Any) -> str:
    version = provider.installed
    if version is None:
        return f"{NEEDS}{provider.get}"
    note = "" if version == provider.version else f" (tried: {provider.version})"
    return f"installed {version}{note}"


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="ani1x or ani1ccx")],
    wheel: Annotated[Path | None, typer.Option(help="the wheel of torchani that holds them, if it is here")] = None,
) -> None:
    """Get weights that a package does not carry into the cache folder."""
    from .providers import ani

    if name not in ani.WEIGHTS:
        apart = " and ".join(ani.WEIGHTS)
        raise ValueError(f"nothing to fetch for {name!r}: only {apart} keep their weights apart from their package")
    typer.echo(f"Weights: {ani.fetch(name, wheel)}")
