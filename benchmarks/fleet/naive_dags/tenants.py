"""One DAG per tenant as a competent first attempt would write it: a task per step, libraries as
they come.

Every task imports what it needs and passes paths on. It does what Tenantry's pipeline does: loads
the interval, checks it, computes the features of active users, trains every 28 days (the candidates
are compared on later snapshots, and the better one becomes champion in MLflow), scores, and reports
drift.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import yaml
from airflow.sdk import DAG, task

FOLDER = Path(os.environ["NAIVE_FOLDER"])
COLUMNS = ("event_timestamp", "user_id", "item_id", "group_id", "quantity", "amount")
KEYS = ["user_id", "item_id", "as_of", "label"]


@task
def extract(tenant: dict, logical_date=None) -> str:
    """New rows of the source, as a file of the interval."""
    import glob

    import pandas as pd

    source = tenant["sources"][0]
    path, mapping = source["connector"]["path"], source["events"]
    if path.startswith("package:"):
        from importlib.metadata import distribution

        package, _, file = path.removeprefix("package:").partition("/")
        path = str(distribution(package).locate_file(file))
    names = {mapping[name]: name for name in COLUMNS}
    wanted = [(column, "==", value) for column, value in source.get("where", {}).items()]
    if "event_column" in mapping:
        wanted.append((mapping["event_column"], "==", "Order Completed"))
    rows = pd.read_parquet(sorted(glob.glob(path)), columns=list(names), filters=wanted or None)
    rows = rows.rename(columns=names)
    rows["event_timestamp"] = pd.to_datetime(rows["event_timestamp"], utc=True)

    folder = FOLDER / tenant["id"] / "events"
    folder.mkdir(parents=True, exist_ok=True)
    this = f"{logical_date:%Y-%m-%d}.parquet"
    earlier = sorted(file.stem for file in folder.glob("*.parquet") if file.name < this)
    new = rows["event_timestamp"] < logical_date
    if earlier:
        new &= rows["event_timestamp"] >= pd.Timestamp(earlier[-1], tz="UTC")
    rows[new].to_parquet(folder / this)
    return str(folder / this)


@task
def validate(file: str) -> None:
    """Great Expectations on what is new."""
    import great_expectations as gx
    import great_expectations.expectations as gxe
    import pandas as pd

    context = gx.get_context(mode="ephemeral")
    suite = context.suites.add(gx.ExpectationSuite(name="events"))
    for column in COLUMNS:
        suite.add_expectation(gxe.ExpectColumnToExist(column=column))
    for column in ("event_timestamp", "user_id", "item_id"):
        suite.add_expectation(gxe.ExpectColumnValuesToNotBeNull(column=column))
    suite.add_expectation(gxe.ExpectColumnValuesToBeBetween(column="quantity", min_value=0))
    suite.add_expectation(
        gxe.ExpectColumnValuesToBeBetween(column="amount", min_value=0, mostly=0.99)
    )
    suite.add_expectation(gxe.ExpectTableRowCountToBeBetween(min_value=1))
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("events")
    rows = asset.add_batch_definition_whole_dataframe("all")
    batch = rows.get_batch({"dataframe": pd.read_parquet(file)})
    result = batch.validate(suite)
    if not result.success:
        print(result)


@task
def features(tenant: dict, use_case: str, logical_date=None) -> str:
    """Features of the users who are active now."""
    table = compute(read_events(tenant, logical_date), use_case, logical_date)
    path = FOLDER / tenant["id"] / "features" / use_case / f"{logical_date:%Y-%m-%d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path)
    return str(path)


@task
def train(tenant: dict, use_case: str, logical_date=None) -> None:
    """Train and register, unless the champion is younger than 28 days."""
    import mlflow
    import pandas as pd
    from lightgbm import LGBMClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    name, client = f"{tenant['id']}-{use_case}", mlflow.MlflowClient()
    try:
        trained = client.get_model_version_by_alias(name, "champion").tags["trained_at"]
        if (logical_date - datetime.fromisoformat(trained)).days < 28:
            return
    except mlflow.MlflowException:
        print("no champion yet")

    snapshots = 14 if use_case == "churn" else 8
    horizon, events = 30 if use_case == "churn" else 28, read_events(tenant, logical_date)
    tables = []
    for number in range(snapshots):
        at = logical_date - pd.Timedelta(days=horizon + 14 * number)
        if at - events["event_timestamp"].min() < pd.Timedelta(days=60):
            break
        table = compute(events, use_case, at)
        table["label"] = labels(events, table, use_case, at, at + pd.Timedelta(days=horizon))
        if use_case == "recommendation":  # five candidates that were not bought for each that was
            bought = table["label"] == 1
            count = min(int((~bought).sum()), 5 * int(bought.sum()))
            table = pd.concat([table[bought], table[~bought].sample(count, random_state=7)])
        tables.append(table)
    if len(tables) < 3:
        print("too little history")
        return
    holdout, training = pd.concat(tables[:2]), pd.concat(tables[2:])
    if training["label"].nunique() < 2 or holdout["label"].nunique() < 2:
        print("only one class")
        return
    columns = [column for column in training if column not in KEYS]
    candidates = {"lightgbm": LGBMClassifier(verbose=-1)}
    if use_case == "churn":
        candidates["logistic"] = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    experiment = client.get_experiment_by_name(name)
    mlflow.set_experiment(
        experiment_id=experiment.experiment_id
        if experiment
        else client.create_experiment(name, str(FOLDER / tenant["id"] / "mlflow"))
    )
    scores, models = {}, {}
    for kind, model in candidates.items():
        with mlflow.start_run(run_name=kind):
            model.fit(training[columns], training["label"])
            scores[kind] = roc_auc_score(
                holdout["label"], model.predict_proba(holdout[columns])[:, 1]
            )
            mlflow.log_params({"candidate": kind, "rows": len(training)})
            mlflow.log_metric("auc", scores[kind])
            flavour = mlflow.lightgbm if kind == "lightgbm" else mlflow.sklearn
            logged = flavour.log_model(
                model,
                name="model",
                input_example=training[columns].head(5),
                registered_model_name=name,
            )
            models[kind] = logged.registered_model_version
    best = models[max(scores, key=scores.get)]
    client.set_model_version_tag(name, best, "trained_at", logical_date.isoformat())
    client.set_registered_model_alias(name, "champion", best)
    reference = FOLDER / tenant["id"] / "reference" / f"{use_case}.parquet"
    reference.parent.mkdir(parents=True, exist_ok=True)
    holdout.to_parquet(reference)


@task
def score(tenant: dict, use_case: str, file: str, logical_date=None) -> None:
    """The champion's predictions, in Postgres."""
    import mlflow
    import pandas as pd
    from sqlalchemy import MetaData, Table, create_engine, inspect

    name = f"{tenant['id']}-{use_case}"
    try:
        mlflow.MlflowClient().get_model_version_by_alias(name, "champion")
    except mlflow.MlflowException:
        print("no champion")
        return
    table = pd.read_parquet(file)
    kind = mlflow.models.get_model_info(f"models:/{name}@champion").flavors
    flavour = mlflow.lightgbm if "lightgbm" in kind else mlflow.sklearn
    model = flavour.load_model(f"models:/{name}@champion")
    columns = [column for column in table if column not in KEYS]
    table["score"] = model.predict_proba(table[columns])[:, 1]
    if use_case == "recommendation":
        table = table.sort_values("score", ascending=False).groupby("user_id").head(10)
    kept = table[[column for column in (*KEYS[:3], "score") if column in table]]
    with create_engine(os.environ["NAIVE_DATABASE"]).begin() as connection:
        target = f"predictions_{name}".replace("-", "_")
        if inspect(connection).has_table(target):
            there = Table(target, MetaData(), autoload_with=connection)
            connection.execute(there.delete().where(there.c.as_of == logical_date))
        kept.to_sql(target, connection, if_exists="append", index=False)


@task
def report_drift(tenant: dict, use_case: str, file: str, logical_date=None) -> None:
    """Evidently's preset, as a page."""
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    reference = FOLDER / tenant["id"] / "reference" / f"{use_case}.parquet"
    if not reference.exists():
        print("no reference")
        return
    current = pd.read_parquet(file)
    columns = [column for column in current if column not in KEYS]
    result = Report([DataDriftPreset()]).run(current[columns], pd.read_parquet(reference)[columns])
    path = FOLDER / tenant["id"] / "reports" / use_case / f"{logical_date:%Y-%m-%d}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    result.save_html(str(path))


def read_events(tenant: dict, until):
    """Everything loaded so far."""
    import pandas as pd

    events = pd.read_parquet(FOLDER / tenant["id"] / "events")
    return events[events["event_timestamp"] < until]


def compute(events, use_case: str, at):
    """Features as of an instant: a row per user, or per user and candidate item."""
    import pandas as pd

    def since(days: int):
        return past[past["event_timestamp"] >= at - pd.Timedelta(days=days)]

    past = events[events["event_timestamp"] < at]
    past = past[past["user_id"].isin(since(60)["user_id"].unique())]
    users = past.groupby("user_id")["event_timestamp"].agg(["min", "max"])
    table = pd.DataFrame(index=users.index)
    table["recency"] = (at - users["max"]).dt.total_seconds()
    table["tenure"] = (at - users["min"]).dt.total_seconds()
    for days in (7, 30, 90):
        window = since(days).assign(day=lambda rows: rows["event_timestamp"].dt.date)
        by_user = window.groupby("user_id")
        table[f"orders_{days}"] = by_user["group_id"].nunique()
        table[f"items_{days}"] = by_user["item_id"].nunique()
        table[f"days_{days}"] = by_user["day"].nunique()
        table[f"quantity_{days}"] = by_user["quantity"].sum()
        table[f"amount_{days}"] = by_user["amount"].sum()
        table[f"mean_amount_{days}"] = by_user["amount"].mean()
    table = table.fillna(0.0).reset_index()
    if use_case == "recommendation":
        own = past.groupby(["user_id", "item_id"]).agg(
            bought=("group_id", "nunique"), last=("event_timestamp", "max")
        )
        own["since_bought"] = (at - own.pop("last")).dt.total_seconds()
        popular = (
            since(28)
            .groupby("item_id")
            .agg(buyers=("user_id", "nunique"), sold=("quantity", "sum"), price=("amount", "mean"))
        )
        shown = popular.nlargest(50, "buyers").index.to_frame(index=False)
        own = own.sort_values("bought", ascending=False).groupby("user_id").head(150)
        pairs = pd.concat(
            [own.reset_index()[["user_id", "item_id"]], table[["user_id"]].merge(shown, "cross")]
        ).drop_duplicates()
        table = pairs.merge(table, on="user_id").merge(own.reset_index(), "left")
        table = table.merge(popular.reset_index(), "left").fillna(0.0)
    table["as_of"] = at
    return table


def labels(events, table, use_case: str, start, end):
    """1 for users who stay away, or for items that the user buys."""
    later = events[(events["event_timestamp"] >= start) & (events["event_timestamp"] < end)]
    if use_case == "churn":
        return (~table["user_id"].isin(later["user_id"])).astype(int)
    bought = later[["user_id", "item_id"]].drop_duplicates().assign(label=1)
    merged = table[["user_id", "item_id"]].merge(bought, "left")
    return merged["label"].fillna(0).astype(int).to_numpy()


def build(tenant: dict) -> DAG:
    """The tenant's DAG."""
    with DAG(
        f"naive.{tenant['id']}",
        schedule=os.environ["NAIVE_SCHEDULE"],
        start_date=datetime.fromisoformat(f"{tenant['history_from']}T00:00:00+00:00"),
        end_date=datetime.fromisoformat(f"{tenant['until']}T00:00:00+00:00"),
        catchup=False,
        is_paused_upon_creation=False,
    ) as dag:
        checked = validate(extract(tenant))
        for use_case in tenant["use_cases"]:
            built = features(tenant, use_case)
            trained = train(tenant, use_case)
            scored = score(tenant, use_case, built)
            checked >> built >> trained >> scored >> report_drift(tenant, use_case, built)
    return dag


for path in sorted(Path(os.environ["TENANTRY_TENANTS"]).glob("*.yaml")):
    built_dag = build(json.loads(json.dumps(yaml.safe_load(path.read_text()), default=str)))
    globals()[built_dag.dag_id] = built_dag
