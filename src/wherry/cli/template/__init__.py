"""Go's text/template for `--format`: lexer, parser and execution over JSON values and rows of tables.

    parse(text) -> Template          TemplateError with Go's words for what is wrong
    Template.execute(value) -> str   TemplateError likewise

Values are JSON's (dict, list, str, int, float, bool, None) and objects with `template_field(name, arguments)`.
"""

from __future__ import annotations

from wherry.cli.template.execute import Template, parse
from wherry.cli.template.lexer import TemplateError

__all__ = ["Template", "TemplateError", "parse"]
