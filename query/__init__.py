"""Compare collections, predict membership, measure leakage, record in DuckDB, report. Read flow.py first."""

from typing import TYPE_CHECKING

from embeddings.lazy import lazily

if TYPE_CHECKING:
    from query.comparison.copies import Copies as Copies
    from query.comparison.matching import Matches as Matches
    from query.comparison.matching import MatchSettings as MatchSettings
    from query.comparison.subsets import SubsetVotes as SubsetVotes
    from query.database.database import Database as Database
    from query.database.store import StoreError as StoreError
    from query.flow import Audit as Audit
    from query.flow import AuditSettings as AuditSettings
    from query.flow import audit as audit
    from query.inputs.groups import GroupsError as GroupsError
    from query.inputs.groups import read_groups as read_groups
    from query.inputs.labels import LabelsError as LabelsError
    from query.inputs.labels import read_labels as read_labels
    from query.inputs.subsets import SubsetsError as SubsetsError
    from query.inputs.tables import TableForm as TableForm
    from query.inputs.tables import TableWarning as TableWarning
    from query.membership.case import MembershipError as MembershipError
    from query.membership.predict import PredictionRequest as PredictionRequest
    from query.membership.predict import Predictions as Predictions
    from query.notebook import Run as Run
    from query.notebook import compare as compare

__version__ = "0.1.0"
_HOMES = {  # imported when they are first used: start-up stays fast
    "Audit": "query.flow",
    "AuditSettings": "query.flow",
    "audit": "query.flow",
    "Run": "query.notebook",
    "compare": "query.notebook",
    "Database": "query.database.database",
    "Copies": "query.comparison.copies",
    "Matches": "query.comparison.matching",
    "MatchSettings": "query.comparison.matching",
    "SubsetVotes": "query.comparison.subsets",
    "PredictionRequest": "query.membership.predict",
    "Predictions": "query.membership.predict",
    "StoreError": "query.database.store",
    "LabelsError": "query.inputs.labels",
    "read_labels": "query.inputs.labels",
    "SubsetsError": "query.inputs.subsets",
    "GroupsError": "query.inputs.groups",
    "read_groups": "query.inputs.groups",
    "TableForm": "query.inputs.tables",
    "TableWarning": "query.inputs.tables",
    "MembershipError": "query.membership.case",
}
__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
