"""Writes into every card of hub_configs what to expect of the model, from its scores.

    python tools/what_to_expect.py

To be run after `sfi-zoo report --cards`; a test compares.
"""

from sfi_zoo.hub.bundled import BUNDLED
from sfi_zoo.hub.expectations import update_card


def main() -> None:
    """All cards."""
    for card in sorted(BUNDLED.glob("*/README.md")):
        update_card(card.parent)
        print(card)


if __name__ == "__main__":
    main()
