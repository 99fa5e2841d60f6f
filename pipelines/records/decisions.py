"""Records of the gate: a decision, its card, and what a person answered."""

from __future__ import annotations

from typing import Literal

from pipelines.core import keys
from pipelines.core.record import Record, Sha256
from pipelines.records.evaluations import GateRecord

Verdict = Literal["PROMOTE", "REFRESH", "HOLD", "REJECT", "INCONCLUSIVE"]
Approval = Literal["not_needed", "needed", "impossible"]
Answer = Literal["approve", "reject"]
RuleGroup = Literal["sufficiency", "floor", "champion", "reference", "slice", "gain"]

PROMOTABLE: frozenset[Verdict] = frozenset({"PROMOTE", "REFRESH"})


class GateRule(Record):
    """One rule of the gate: its limit, the observed value, and a sentence for people.

    ``low`` and ``high`` bound the observed value, ``detectable`` is the smallest true change that
    would show; None where the rule does not compare models.
    """

    rule: str
    group: RuleGroup
    is_passed: bool
    observed: float | None
    limit: float | None
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    sentence: str

    @property
    def answer(self) -> str:
        """For people. A missing gain is not a failure: it means that nothing needs to change."""
        if self.group == "gain":
            return "yes" if self.is_passed else "no"
        return "ok" if self.is_passed else "FAIL"


class Decision(GateRecord):
    """The recorded verdict. Promotion acts on it, and on an approval where it asks for one."""

    schema_version: Literal[2] = 2
    manifest_sha256: Sha256
    evaluation_sha256: Sha256
    champion_version: str | None
    reference_version: str | None
    verdict: Verdict
    approval: Approval
    becomes_reference: bool  # reliably better than the reference: replaces it for later models
    why: str
    rules: tuple[GateRule, ...]

    @property
    def object_key(self) -> str:
        return self.gate_key(keys.DECISION)


class CardFiles(GateRecord):
    """The files of a decision's model card, which a person reads before approving."""

    schema_version: Literal[1] = 1
    decision_sha256: Sha256
    files: dict[str, Sha256]  # name, in the same folder, to the digest of its bytes

    @property
    def object_key(self) -> str:
        return self.gate_key(keys.CARD)


class ApprovalRecord(GateRecord):
    """A person's answer to one decision. Void when the champion has moved since."""

    schema_version: Literal[1] = 1
    decision_sha256: Sha256
    answer: Answer
    actor: str
    reason: str

    @property
    def object_key(self) -> str:
        return self.gate_key(keys.APPROVAL)
