"""A hook of MkDocs: pages of the README, of the notebook, and of every room's docstrings."""

import json
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "speechbrain_fv"
LINK = re.compile(r"(\]\()(?!https?:|#|mailto:)([^)\s]+)(\))")


def on_config(config):
    """Adds the API pages to the navigation, in the order of the rooms' names."""
    config.nav.append({"API": [f"api/{room}.md" for room in rooms()]})
    return config


def on_files(files, config):
    """Adds the pages that are made here."""
    pages = {f"api/{room}.md": api_page(room) for room in rooms()}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages["index.md"] = first_page(readme, config.repo_url)
    notebook = ROOT / "docs" / "first_hour.ipynb"
    pages["first_hour.md"] = notebook_page(json.loads(notebook.read_text(encoding="utf-8")))
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def rooms():
    """Returns the packages and modules directly below `speechbrain_fv`."""
    found = (path for path in PACKAGE.iterdir() if not path.name.startswith("_"))
    packages = {path.name for path in found if (path / "__init__.py").exists()}
    return sorted(packages | {path.stem for path in PACKAGE.glob("[!_]*.py")})


def api_page(room):
    """Returns the page of a room: each of its modules, by its docstrings."""
    folder = PACKAGE / room
    modules = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    lines = [f"# {room}"]
    for path in modules:
        *names, name = path.relative_to(ROOT).with_suffix("").parts
        if name == "__init__":  # its members are those of the modules
            lines.append(f"::: {'.'.join(names)}\n    options: {{members: false}}")
        elif not name.startswith("_"):
            lines.append(f"::: {'.'.join(names)}.{name}")
    return "\n\n".join(lines) + "\n"


def first_page(text, url):
    """Returns the README with its links as seen from docs/: other files are those of `url`."""

    def seen_from_docs(match):
        before, target, after = match.groups()
        inside = target.removeprefix("docs/").replace(".ipynb", ".md")
        outside = f"{url}/blob/main/{target}"
        return before + (inside if target.startswith("docs/") else outside) + after

    return LINK.sub(seen_from_docs, text)


def notebook_page(notebook):
    """Returns the page of a notebook: its text, its code, and what that left."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        parts += [_shown(output) for output in cell.get("outputs", ())]
    return "\n\n".join(parts) + "\n"


def _shown(output):
    data = output.get("data", {})
    if "image/png" in data:
        return f"![What the cell draws](data:image/png;base64,{''.join(data['image/png']).strip()})"
    if "text/html" in data:
        return "".join(data["text/html"])
    text = "".join(data.get("text/plain", output.get("text", ""))).strip("\n")
    return f"```text\n{text}\n```"
