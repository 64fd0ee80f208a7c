"""Where a tenant becomes a path, an SQL identifier, a workspace or a DAG id."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from include.errors import ConfigError
from include.tenants.namespace import (
    CONSENT_DAG,
    DAG_KINDS,
    GLOBAL,
    NAME,
    REGION,
    RESERVED,
    RETENTION_DAG,
    TENANT_ID,
    TenantRef,
    dag_id,
    database,
    global_dag_id,
    global_owner,
    global_ref,
    is_global,
    lake_prefix,
    lake_table,
    model_name,
    split_dag_id,
    workspace,
)

ids = st.from_regex(TENANT_ID, fullmatch=True)
names = st.from_regex(NAME, fullmatch=True)
refs = st.builds(TenantRef, ids, ids, st.sampled_from(["pool", "silo"]))
hostile = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "",
            "..",
            "../../etc/passwd",
            "a/b",
            "acme\n",
            "acme\x00",
            "Acme",
            "acme.pipeline",
            "acme';DROP TABLE x;--",
            '"acme"',
            "{{ conn.store }}",
            "%s",
            "a\u202eb",
            "аcme",  # the first letter is Cyrillic
            "ａcme",
            "a" * 10_000,
            "-acme",
            "0acme",
            "a",
        ]
    ),
)


@given(hostile)
@example("acme\n")
def test_only_a_tenant_id_gets_a_reference(text: str) -> None:
    """What does not match TENANT_ID is refused before it can reach a path or an identifier."""
    assume(not TENANT_ID.fullmatch(text))
    with pytest.raises(ConfigError, match="must match"):
        TenantRef(text, "eu", "pool")
    with pytest.raises(ConfigError, match="must match"):
        TenantRef("acme", text, "pool")
    with pytest.raises(ConfigError, match="must match"):
        dag_id(text, "pipeline")


@given(hostile)
def test_only_a_name_reaches_a_table_model_or_dag_id(text: str) -> None:
    """What does not match NAME never becomes part of a path, a model name or a DAG id."""
    assume(not NAME.fullmatch(text))
    acme = TenantRef("acme", "eu", "pool")
    for build in (
        lambda: lake_table(acme, text),
        lambda: model_name(text),
        lambda: global_dag_id(text),
    ):
        with pytest.raises(ConfigError, match="must match"):
            build()


@given(hostile.filter(lambda text: text not in ("pool", "silo")))
def test_isolation_is_one_of_two_words(text: str) -> None:
    """An isolation that is neither pool nor silo is refused."""
    with pytest.raises(ConfigError, match="'pool' or 'silo'"):
        TenantRef("acme", "eu", text)


@given(refs, names)
def test_what_a_tenant_becomes_is_harmless(tenant: TenantRef, name: str) -> None:
    """Databases are plain SQL identifiers of legal length, lake places stay below the root."""
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,62}", database(tenant))
    place = PurePosixPath(lake_table(tenant, name))
    assert not place.is_absolute()
    assert place.parts == (tenant.region, tenant.id, name)
    assert ".." not in place.parts
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*[a-z0-9]", workspace(tenant))


@given(refs, refs)
def test_two_tenants_never_share_a_place(one: TenantRef, other: TenantRef) -> None:
    """Lake prefix, workspace and DAG ids differ where ids do; so do silo databases."""
    assume(one.id != other.id)
    assert lake_prefix(one) != lake_prefix(other)
    assert workspace(one) != workspace(other)
    if "silo" in (one.isolation, other.isolation):
        assert database(one) != database(other)
    made = {dag_id(tenant.id, kind) for tenant in (one, other) for kind in DAG_KINDS}
    assert len(made) == 2 * len(DAG_KINDS)


def test_ids_that_differ_in_a_dash_only_have_their_own_databases() -> None:
    """`-` becomes `_` in a database name; no id holds `_`, so nothing collides."""
    made = {database(TenantRef(i, "eu", "silo")) for i in ("a-b", "ab", "a--b", "ab-", "a-b-")}
    assert len(made) == 5


@given(ids, st.sampled_from(DAG_KINDS))
def test_a_dag_id_tells_tenant_and_kind(tenant_id: str, kind: str) -> None:
    """Splitting a DAG id gives back what it was made of."""
    assert split_dag_id(dag_id(tenant_id, kind)) == (tenant_id, kind)


@given(ids, names)
def test_no_tenant_dag_is_a_global_one(tenant_id: str, use_case: str) -> None:
    """Global DAGs begin with a reserved id, which no tenant file can take."""
    assume(tenant_id not in RESERVED)
    assert global_dag_id(use_case) not in {dag_id(tenant_id, kind) for kind in DAG_KINDS}
    assert GLOBAL.id in RESERVED


@pytest.mark.parametrize("platforms", [RETENTION_DAG, CONSENT_DAG])
def test_no_tenant_dag_is_the_platforms(platforms: str) -> None:
    """They begin with a reserved id, too."""
    owner, _ = split_dag_id(platforms)
    assert owner in RESERVED


def test_a_dag_of_somebody_else_is_no_tenants_with_a_longer_name() -> None:
    """Only what comes before the first dot can be a tenant's id."""
    assert split_dag_id("acme.pipeline.copy") == ("acme", "pipeline.copy")
    assert split_dag_id("acme") == ("", "")


def test_a_workspace_is_called_as_its_tenant() -> None:
    """Unless MLflow would not have it."""
    assert workspace(TenantRef("acme", "eu", "pool")) == "acme"


@given(st.from_regex(REGION, fullmatch=True), refs)
def test_what_a_regions_models_have_lies_in_the_region_and_is_nobody_elses(
    region: str, tenant: TenantRef
) -> None:
    """Folder, workspace and rows of the owner of a region's global models are its own, whatever the
    region and the tenants are called; its id leads back to it."""
    owner = global_owner(region)
    assert lake_prefix(owner).startswith(f"{region}/")
    assert global_ref(owner.id) == owner
    assert is_global(owner.id)
    others = [tenant, GLOBAL, global_owner("elsewhere")]
    for other in (one for one in others if one != owner):
        assert lake_prefix(other) != lake_prefix(owner)
        assert workspace(other) != workspace(owner)
        assert other.id != owner.id
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", workspace(owner))
    assert len(workspace(owner)) <= 63


@pytest.mark.parametrize(
    ("tenant_id", "region", "isolation"),
    [("global-eu", "us", "pool"), ("global-eu", "eu", "silo"), ("global-", "eu", "pool")],
)
def test_no_tenant_has_the_id_of_a_regions_models(
    tenant_id: str, region: str, isolation: str
) -> None:
    """An id that begins with `global-` is that of its region's owner, or refused."""
    with pytest.raises(ConfigError, match="reserved for the global models of a region"):
        TenantRef(tenant_id, region, isolation)


@pytest.mark.parametrize("owner_id", ["acme", "globally", "global-", "global-../x", "", "Global"])
def test_what_owns_no_global_models_is_refused(owner_id: str) -> None:
    """An id that is neither `global` nor that of a region's owner leads nowhere."""
    with pytest.raises(ConfigError):
        global_ref(owner_id)


def test_an_unknown_dag_kind_lists_the_known_ones() -> None:
    """The message names every kind there is."""
    with pytest.raises(ConfigError, match="known: pipeline, retrain, drift_watch"):
        dag_id("acme", "scoring")


def test_a_dag_id_without_a_dot_is_a_strangers() -> None:
    """Other people's DAGs in the same Airflow are left alone."""
    assert split_dag_id("example_dag") == ("", "")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        *(("ab", True), ("a", False), ("", False), ("a" * 41, True), ("a" * 42, False)),
        *(("a1", True), ("1a", False), ("-a", False), ("a-", True), ("a-b", True), ("a_b", False)),
        *(("a.b", False), ("a/b", False), ("aB", False), ("Ab", False), ("ab\n", False)),
    ],
)
def test_a_tenant_id_and_a_region_are_letters_digits_and_dashes(text: str, good: bool) -> None:
    """From two to forty-one, a letter first; nothing before, after or in between."""
    for make in (lambda: TenantRef(text, "eu", "pool"), lambda: TenantRef("alder", text, "pool")):
        if good:
            assert text in (make().id, make().region)
        else:
            with pytest.raises(ConfigError, match=r"must match \[a-z\]"):
                make()


@pytest.mark.parametrize(
    ("text", "good"),
    [
        *(("a", True), ("", False), ("a" * 63, True), ("a" * 64, False), ("a1", True)),
        *(("1a", False), ("_a", False), ("a_b", True), ("a-b", False), ("a.b", False)),
        *(("a/b", False), ("aB", False), ("A", False), ("a\n", False)),
    ],
)
def test_a_name_is_letters_digits_and_underscores(text: str, good: bool) -> None:
    """From one to sixty-three, a letter first: a use case, a source, a table of the lake."""
    if good:
        assert model_name(text) == text
        assert lake_table(TenantRef("alder", "eu", "pool"), text) == f"eu/alder/{text}"
    else:
        with pytest.raises(ConfigError, match=r"^use case .* must match \[a-z\]"):
            model_name(text)


@pytest.mark.parametrize("word", ["global", "platform", "default"])
def test_words_that_stand_for_the_platform_are_reserved(word: str) -> None:
    """They can be no tenant's id."""
    assert word in RESERVED


@pytest.mark.parametrize("word", ["workspaces", "api", "ajax-api", "static-files"])
def test_what_mlflow_keeps_for_itself_is_no_workspace(word: str) -> None:
    """MLflow's own paths begin with these."""
    assert workspace(TenantRef(word, "eu", "pool")) not in {word, workspace(GLOBAL)}


def test_the_owner_of_all_regions_is_found_by_its_id() -> None:
    """It is no region's."""
    assert global_ref(GLOBAL.id) == GLOBAL
