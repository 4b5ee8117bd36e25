"""JSON is parsed alike on every version of Python and on every machine."""

import pytest

from marketplace_worker.contract.inbound_data import ApiRequestsData, ExtendGraceData
from marketplace_worker.errors import Malformed
from marketplace_worker.json_reading import DEPTH_MAX, parse_json

DEEPER = DEPTH_MAX + 1


@pytest.mark.parametrize(
    "text",
    [
        "[" * DEPTH_MAX + "]" * DEPTH_MAX,
        '{"a":' * DEPTH_MAX + "1" + "}" * DEPTH_MAX,
        "[" + ",".join(["[]", "{}"] * 1_000) + "]",
        '["' + "[" * 1_000 + '"]',
        r'["\"' + "{" * 1_000 + r'\\"]',
    ],
)
def test_a_hundred_levels_of_nesting_are_read(text: str) -> None:
    """Sibling brackets and brackets within text do not count."""
    parse_json(text, field="value")
    parse_json(text.encode(), field="value")


@pytest.mark.parametrize(
    "text",
    [
        "[" * DEEPER + "]" * DEEPER,
        '[{"a":' * 51 + "1" + "}]" * 51,
        "[]," * 1_000 + "[" * DEEPER + "]" * DEEPER,
        "[" * 1_000_000,
        '{"a":' * 20_000 + "1" + "}" * 20_000,
    ],
)
def test_deeper_nesting_is_refused_before_parsing(text: str) -> None:
    """The depth that Python parses depends on its version; 3.13 crashes with a small stack."""
    with pytest.raises(Malformed, match="is nested too deeply"):
        parse_json(text.encode(), field="value")


def test_a_number_without_a_fraction_is_an_integer() -> None:
    """As in JSON Schema, however the number is written."""
    assert ApiRequestsData.model_validate({"requests": 3.0}).requests == 3
    support = {"requested_by": "jo", "reason": "because", "ticket": "T-1"}
    assert ExtendGraceData.model_validate({**support, "days": 2.0}).days == 2


@pytest.mark.parametrize("requests", [3.5, float("inf"), True, "3", 1e300, 0.0, -1.0])
def test_other_values_are_not_integers(requests: object) -> None:
    """Neither text nor a boolean becomes a number."""
    with pytest.raises(ValueError, match="requests"):
        ApiRequestsData.model_validate({"requests": requests})
