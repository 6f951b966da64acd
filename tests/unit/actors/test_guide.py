"""The snippets of docs/actors.md run, one after the other."""

import ast
import re
from inspect import isawaitable
from pathlib import Path

GUIDE = Path(__file__).parents[3] / "docs" / "actors.md"


async def test_the_snippets_of_the_guide_run() -> None:
    text = GUIDE.read_text()
    namespace: dict[str, object] = {"__name__": "guide"}
    snippets = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))
    assert len(snippets) == 4
    for snippet in snippets:
        line = text[: snippet.start(1)].count("\n")
        code = compile("\n" * line + snippet[1], str(GUIDE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, namespace)
        if isawaitable(result):
            await result
