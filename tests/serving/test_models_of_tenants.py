"""Fitted models for each tenant: more than memory has room for, chosen by the tenant of the request."""

from pathlib import Path

import pytest
from support.static_tiers import save_static_head

from inferstream import Config, Edge, UnknownModel, UsageError, load_config

LABELS = ("refund", "login", "parcel")
TENANTS = 30


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    save_static_head(tmp_path, "shop", LABELS)
    for number in range(TENANTS):
        save_static_head(tmp_path, f"tenant-{number}", LABELS, seed=number)
    return tmp_path


def settings(home: Path, text: str) -> Config:
    path = home / "inferstream.toml"
    path.write_text(f"[cache]\ndisk_bytes = 0\n[triage]\n{text}")
    return load_config(path)


async def test_each_tenant_is_answered_by_its_model(home: Path) -> None:
    tenants = ", ".join(f'acme-{number} = "tenant-{number}"' for number in range(TENANTS))
    config = settings(home, f'model = "shop"\ntenants = {{ {tenants} }}\nfitted_bytes = 100_000\n')
    async with Edge(config) as client:
        for number in [*range(TENANTS), 0, 7]:
            answer = await client.request("triage", f"parcel {number}", tenant=f"acme-{number}")
            assert answer.reply.model == f"tenant-{number}"
        for tenant in (None, "another"):
            assert (await client.request("triage", "parcel", tenant=tenant)).reply.model == "shop"
        for name in ("shop", "tenant-3"):
            named = await client.request("triage", "parcel", tenant="acme-7", model=name)
            assert named.reply.model == name, "the name in a request counts more than its tenant"


async def test_models_by_a_pattern(home: Path) -> None:
    async with Edge(settings(home, 'model = "shop"\nmodels = ["tenant-1*"]\n')) as client:
        assert (await client.request("triage", "parcel", model="tenant-11")).reply.model == "tenant-11"
        assert (await client.request("triage", "parcel")).reply.model == "shop"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('models = ["nothing-*"]', "No model of 'triage' here has a name like 'nothing-\\*'"),
        ('tenants = { acme = "tenant-*" }', "The model of the tenant 'acme' must be one name"),
        ('tenants = { acme = "absent" }', "no model 'absent'.* and 19 more"),
    ],
)
async def test_mistakes_are_told(home: Path, text: str, sentence: str) -> None:
    with pytest.raises((UsageError, UnknownModel), match=sentence):
        async with Edge(settings(home, f'model = "shop"\n{text}\n')):
            pass
