"""Names in report.md and in model cards are text, whatever is in them: read by a Markdown renderer that takes HTML."""

import html
import re

import pytest
from markdown_it import MarkdownIt

from sfi_zoo.hub.model_card import Source, model_card
from sfi_zoo.metrics.reporting.cards import with_table
from sfi_zoo.metrics.reporting.report import Section, as_markdown
from sfi_zoo.wording import markdown_table, markdown_text
from tests.tiny_separators import tiny

HOSTILE = (
    *(
        "<script>alert(1)</script>",
        "<!-- end of scores -->",
        "a|b",
        "*a*",
        "_a_",
        "__a__",
        "a_b_c",
        "`a`",
        "~~a~~",
    ),
    *(
        "[a](http://x)",
        "![a](http://x)",
        "[a]: http://x",
        "[a][b]",
        "&lt;b&gt;",
        "&#60;",
        "\\|",
        "\\",
        "<http://x>",
        "1.23 [1.1, 1.4]",
    ),
)
RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def text_of(page: str) -> str:
    """What is read on a page; tags are gone."""
    return html.unescape(re.sub(r"<[^>]*>", "", page)).strip()


def tags_of(page: str) -> set[str]:
    return set(re.findall(r"</?(\w+|!--)", page))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_read_as_it_is(name: str) -> None:
    for text, tags in (
        (f"x {markdown_text(name)} y", {"p"}),
        (f"# {markdown_text(name)}", {"h1"}),
        (markdown_table(["n"], [[name]]), {"table", "thead", "tbody", "tr", "th", "td"}),
    ):
        page = RENDERER.render(text)
        assert tags_of(page) == tags
        assert text_of(page).removeprefix("x ").removesuffix(" y").split("\n")[-1].strip() == name


def test_lines_and_commands_to_a_terminal_are_one_line_of_text() -> None:
    assert markdown_text("a\n# b\r\n\x1b[2J\u202e") == "a # b \\x1b[2J\\u202e"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_report_and_a_card_have_no_more_elements_than_with_a_plain_name(name: str) -> None:
    def report(name: str) -> set[str]:
        return tags_of(RENDERER.render(as_markdown(name, [Section(name, name, (name, "x"), [[name, name]])])))

    def card(name: str) -> set[str]:
        model = tiny(
            "openunmix", sources=(name.replace("/", "").replace("\\", "").replace(":", "") or "x", "b")
        )
        made = model_card(name, model, Source(name, f"sfi-zoo import {name}", "about", "mit"), where=name)
        return tags_of(RENDERER.render(made.split("---", 2)[2]))

    assert report(name) == report("plain")
    assert card(name) == card("plain")


def test_a_name_cannot_end_the_scores_of_a_card() -> None:
    card = with_table(b"# x\n", markdown_table(["a"], [["<!-- end of scores -->"]]))
    assert with_table(card, "new").count(b"<!-- end of scores -->") == 1
