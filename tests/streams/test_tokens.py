"""AWS tokens for Amazon MSK: signed by Amazon's library, for the configured region."""

import base64
import sys
from urllib.parse import parse_qs, urlsplit

import pytest
from aiokafka.errors import KafkaConnectionError

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Kafka
from marketplace_worker.streams.security import broker_arguments, client_arguments
from marketplace_worker.streams.tokens import token_provider

KAFKA = Kafka(
    bootstrap_servers="b-1.cluster.kafka.eu-central-1.amazonaws.com:9098",
    security_protocol="SASL_SSL",
    sasl_mechanism="AWS_MSK_IAM",
    aws_region="eu-central-1",
)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS credentials in the environment, where every AWS client finds them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


async def token() -> str:
    """The token of a new connection."""
    provider = token_provider(KAFKA)
    assert provider is not None
    return str(await provider.token())


@pytest.mark.usefixtures("credentials")
async def test_a_token_is_a_signed_request_to_connect() -> None:
    """Base64url without padding, as MSK reads it; and no secret is in it."""
    found = await token()
    url = urlsplit(base64.urlsafe_b64decode(found + "=" * (-len(found) % 4)).decode())
    query = parse_qs(url.query)
    assert url.hostname == "kafka.eu-central-1.amazonaws.com"
    assert query["Action"] == ["kafka-cluster:Connect"]
    assert query["X-Amz-Credential"][0].startswith("AKIAEXAMPLE/")
    assert "secret" not in url.query


def test_clients_use_the_mechanism_oauthbearer() -> None:
    """All clients use mechanism OAUTHBEARER."""
    for arguments in (client_arguments(KAFKA), broker_arguments(KAFKA)):
        assert arguments["sasl_oauth_token_provider"] is not None
    assert client_arguments(KAFKA)["sasl_mechanism"] == "OAUTHBEARER"


async def test_missing_aws_credentials_are_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is temporary: a machine's role may be attached later."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/no/such/file")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/no/such/file")
    with pytest.raises(KafkaConnectionError, match="AWS provides no credentials") as refused:
        await token()
    assert isinstance(refused.value.__cause__, Unavailable)


async def test_without_amazons_library_the_package_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library is an optional dependency."""
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer", None)
    with pytest.raises(KafkaConnectionError, match=r"marketplace-worker\[aws-msk-iam\]") as refused:
        await token()
    assert isinstance(refused.value.__cause__, Misconfigured)
