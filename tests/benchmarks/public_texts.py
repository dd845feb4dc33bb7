"""``python -m tests.benchmarks.public_texts OUT``: texts of public sets that whiten features.

Other domains than the sets that are measured: voice assistants (xSID), customer service (bitext),
questions on encyclopedia passages (xquad).
"""

import json
import sys
from pathlib import Path

from tests.benchmarks.converters.source import data_root, need, rows

_PER_FILE = 800


def main() -> int:
    """Write one ``text`` a line and return the exit code."""
    out = Path(sys.argv[1])
    source = data_root()
    files = [need(source, "xsid07", f"{lang}.train.jsonl") for lang in ("en", "ar", "de", "zh")]
    files += [need(source, "bitext_cs_en", "train.jsonl")]
    files += [need(source, "xquad_kb", f"{lang}/queries.jsonl") for lang in ("en", "ar")]
    texts = [row["text"] for file in files for row in list(rows(file))[:_PER_FILE]]
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    out.write_text("\n".join(lines) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
