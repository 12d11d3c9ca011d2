"""The vault: keys that can be changed, key files that nobody else can read, and no key in any message."""

from __future__ import annotations

import base64
import os
import secrets
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from mogplex_mcp.settings import Settings
from mogplex_mcp.store import vault
from mogplex_mcp.store.credentials import get_credential
from mogplex_mcp.store.store import Store, open_store
from mogplex_mcp.store.tables import credentials
from mogplex_mcp.store.tokens import TokenAnswer, rotate_refresh
from mogplex_mcp.store.upstream_clients import UpstreamClient, get_upstream_client, put_upstream_client
from mogplex_mcp.store.upstream_signins import put_upstream_signin, take_upstream_signin
from mogplex_mcp.store.vault import KEY_FILE, Vault, VaultError, key_file, make_key
from tests.store.people import CLIENT, connected, person


def with_keys(settings: Settings, *keys: str) -> Settings:
    return settings.model_copy(update={"mcp_secret_key": SecretStr(",".join(keys))})


def test_what_is_encrypted_can_be_decrypted_and_looks_different_each_time() -> None:
    made = Vault((make_key(),), b"h")
    first, second = made.encrypt("näme\0"), made.encrypt("näme\0")
    assert first != second
    assert made.decrypt(first) == made.decrypt(second) == "näme\0"


def test_keys_may_be_written_in_either_base64_alphabet() -> None:
    raw = b"\xfb\xff" * 16
    plain = Vault((base64.b64encode(raw).decode(),), b"h")
    assert Vault((base64.urlsafe_b64encode(raw).decode().rstrip("="),), b"h").decrypt(plain.encrypt("x")) == "x"


def test_a_keyed_hash_is_the_same_for_the_same_text_and_key_only() -> None:
    one, other = Vault((make_key(),), b"1"), Vault((make_key(),), b"2")
    assert one.keyed_hash("a") == Vault((make_key(),), b"1").keyed_hash("a")
    assert len({one.keyed_hash("a"), one.keyed_hash("b"), other.keyed_hash("a")}) == 3
    assert one.keyed_hash("\ud800\0")


@pytest.mark.parametrize("bad", ["short", "x" * 44, "ключ", base64.b64encode(bytes(31)).decode()])
def test_a_bad_key_is_refused_with_its_place_and_not_its_text(settings: Settings, bad: str) -> None:
    with pytest.raises(VaultError, match=r"MOGPLEX_MCP_SECRET_KEY: Key 2 of 2 is no key: .*openssl rand") as caught:
        open_store(with_keys(settings, make_key(), bad))
    assert bad not in str(caught.value)


def test_an_empty_list_of_keys_is_refused(settings: Settings) -> None:
    with pytest.raises(VaultError, match="There is no key"):
        open_store(with_keys(settings, " ", ""))


def test_a_key_file_is_made_once_and_private(settings: Settings) -> None:
    with closing(open_store(settings)) as first, closing(open_store(settings)) as second:
        assert first.vault.keyed_hash("a") == second.vault.keyed_hash("a")
    path = settings.data_dir / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in settings.data_dir.iterdir() if "secret" in file.name] == [KEY_FILE]


def test_of_two_processes_that_make_the_key_file_the_first_ones_key_stays(tmp_path: Path) -> None:
    vault.make_key_file(tmp_path / KEY_FILE)
    first = key_file(tmp_path, create=True)
    vault.make_key_file(tmp_path / KEY_FILE)  # as one that looked before the file was there
    assert key_file(tmp_path, create=True) == first
    assert [file.name for file in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o606])
def test_a_key_file_that_others_may_read_or_write_is_refused(settings: Settings, mode: int) -> None:
    open_store(settings).close()
    path = settings.data_dir / KEY_FILE
    path.chmod(mode)
    with pytest.raises(VaultError, match=f"chmod 600 {path}"):
        open_store(settings)


def test_a_key_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    path.touch(0o600)
    with pytest.raises(VaultError, match="holds something that is no key"):
        key_file(tmp_path, create=True)
    path.write_bytes(b"\xff\xfe secret")
    with pytest.raises(VaultError, match="holds something that is no key"):
        key_file(tmp_path, create=True)


def test_a_key_file_may_hold_several_keys(tmp_path: Path) -> None:
    keys = (make_key(), make_key())
    with os.fdopen(os.open(tmp_path / KEY_FILE, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        file.write("\n".join(keys) + "\n")
    assert key_file(tmp_path, create=False) == keys


def test_a_lost_key_file_is_not_replaced_by_another_key(settings: Settings) -> None:
    open_store(settings).close()
    (settings.data_dir / KEY_FILE).unlink()
    with pytest.raises(VaultError, match="is missing, and what is stored was encrypted with it"):
        open_store(settings)
    assert not (settings.data_dir / KEY_FILE).exists()


def test_another_key_is_refused_at_start_not_at_the_first_call(settings: Settings) -> None:
    open_store(with_keys(settings, make_key())).close()
    with pytest.raises(VaultError, match="Add the former key to the end of MOGPLEX_MCP_SECRET_KEY"):
        open_store(with_keys(settings, make_key()))


def test_after_a_change_of_keys_the_former_one_can_be_dropped(settings: Settings) -> None:
    old, new = make_key(), make_key()
    with closing(open_store(with_keys(settings, old))) as store:
        account = person(store)
        _, answer = connected(store, account)
        successor = rotate_refresh(store, answer.refresh_token, CLIENT)
        put_upstream_client(store, UpstreamClient("i", "c", "id", "upstream-secret"))
        state = put_upstream_signin(store, browser="b", request_id=None, verifier="v", callback="c")
        hashed = store.vault.keyed_hash("pat")
    open_store(with_keys(settings, new, old)).close()
    with closing(open_store(with_keys(settings, new))) as store:
        kept = get_credential(store, account.id)
        assert kept is not None
        assert (kept.token, kept.refresh_token) == ("mog_upstream-of-ann", "refresh-of-ann")
        assert store.vault.keyed_hash("pat") == hashed, "accounts of pasted tokens keep their names"
        found = get_upstream_client(store, "i", "c")
        assert found is not None
        assert found.client_secret == "upstream-secret"
        signin = take_upstream_signin(store, state, "b")
        assert signin is not None
        assert signin.verifier == "v"
        repeated = rotate_refresh(store, answer.refresh_token, CLIENT)
        assert isinstance(successor, TokenAnswer)
        assert isinstance(repeated, TokenAnswer)
        assert repeated.refresh_token == successor.refresh_token


def test_the_first_key_encrypts_even_while_the_former_is_listed(settings: Settings) -> None:
    old, new = make_key(), make_key()
    open_store(with_keys(settings, old)).close()
    with closing(open_store(with_keys(settings, new, old))) as store:
        account = person(store, secrets.token_hex(4))
    with closing(open_store(with_keys(settings, new))) as store:
        assert get_credential(store, account.id) is not None


def test_a_credential_that_was_tampered_with_is_an_error_that_says_so(store: Store) -> None:
    account = person(store)
    with store.db.write() as conn:
        conn.execute(credentials.update().values(token=b"garbage"))
    with pytest.raises(VaultError, match="encrypted with another key"):
        get_credential(store, account.id)
