"""The style sheet of the drawings: colours as CSS variables, so that one drawing serves light and dark."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

BANDS = 10  # colours of a surface
RAMP = ["#162874", "#243f99", "#2260a9", "#1e88bc", "#33a7c2", "#59bfc0", "#8cd2ba", "#c4e8b4", "#e3f4b2", "#f7fcc6"]


def _style() -> str:
    light = {f"--f{k}": c for k, c in enumerate(RAMP)}
    dark = {f"--f{k}": c for k, c in enumerate(reversed(RAMP))}
    light |= {"--on-dark": "#fff", "--on-light": "#20242a"}
    dark |= {"--on-dark": "#20242a", "--on-light": "#fff"}
    light |= {
        "--ink": "#20242a",
        "--soft": "#5d6673",
        "--line": "#d9dde3",
        "--model": "#0b5cbf",
        "--reference": "#c3bba6",
    }
    dark |= {
        "--ink": "#e3e6ea",
        "--soft": "#a0a9b5",
        "--line": "#353b44",
        "--model": "#6fb4ff",
        "--reference": "#77705f",
    }
    hues = ["#0b5cbf", "#c2511c", "#1b7f4f", "#8650b8", "#97720a", "#bd3a78", "#2f87a0", "#6b6f76"]
    bright = ["#6fb4ff", "#ff9a62", "#5fcf98", "#c39bf0", "#e0bb4a", "#f489ba", "#6dcbe3", "#b3b8bf"]
    light |= {f"--s{k}": c for k, c in enumerate(hues)}
    dark |= {f"--s{k}": c for k, c in enumerate(bright)}

    def block(values: Mapping[str, str]):
        return ":root{" + ";".join(f"{k}:{v}" for k, v in values.items()) + "}"

    series = "".join(
        f".plot .s{k}{{stroke:var(--s{k});stroke-width:1.2}}.plot circle.s{k}{{fill:var(--s{k})}}" for k in range(8)
    )
    surface = "".join(f".plot .f{k}{{fill:var(--f{k})}}" for k in range(BANDS))
    return (
        f"{block(light)}@media (prefers-color-scheme:dark){{{block(dark)}}}"
        ".plot{display:block;width:100%;height:auto;font:12px system-ui,sans-serif;overflow:visible}"
        ".plot text{fill:var(--soft);font-variant-numeric:tabular-nums}.plot .name{fill:var(--ink)}"
        ".plot path{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}"
        ".plot .grid{stroke:var(--line);stroke-width:1}.plot .zero{stroke:var(--soft);stroke-width:1}"
        ".plot .model{stroke:var(--model);stroke-width:1.8}.plot .reference{stroke:var(--reference);stroke-width:5}"
        ".plot circle.model{fill:var(--model)}"
        ".plot .mark{stroke:var(--s1);stroke-width:6;stroke-opacity:.75}"
        ".plot .target{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:5 4}"
        ".plot .dashed{stroke-dasharray:6 3}"
        ".plot path.band{stroke:none;fill-rule:evenodd}.plot .edge{stroke:var(--line)}"
        ".plot .scored{stroke:#fff;stroke-width:2}.plot .scored.under{stroke:#000;stroke-width:3.4;stroke-opacity:.55}"
        f"{series}{surface}"
        ".plot circle[class]{stroke:none;fill-opacity:.6}"
        ".plot circle.atom{stroke:var(--soft);stroke-width:1;fill-opacity:1}"
        ".lifetimes .rail{stroke:var(--line);stroke-width:10;stroke-linecap:butt}"
        ".lifetimes .trusted{stroke:var(--model);stroke-width:10;stroke-linecap:butt}"
        ".lifetimes .astray{stroke:var(--s1);stroke-width:10;stroke-linecap:butt;stroke-opacity:.55}"
        ".lifetimes .broke{stroke:var(--s1);stroke-width:3}"
        ".plot .bond{stroke:var(--soft);stroke-width:3}"
        ".plot .on-dark{fill:var(--on-dark)}.plot .on-light{fill:var(--on-light)}"
        ".strip{display:block;width:100px;height:16px}.strip .rail{stroke:var(--line);stroke-width:1}"
        ".strip .floor{fill:var(--reference);fill-opacity:.55}.strip .whisker{stroke:var(--model);stroke-width:1.6}"
        ".strip .dot{fill:var(--model)}.strip .trivial{stroke:var(--soft);stroke-width:1.5}"
    )


STYLE = Markup(_style())
