"""A workload's reference, measured once for all experiments of the workload."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from quantbench.arrays import Outputs
from quantbench.backends.interface import Artifact, Backend, Predictor
from quantbench.errors import BaselineError
from quantbench.experiment.artifact import lowered, reference
from quantbench.experiment.built import BuiltArtifact
from quantbench.experiment.costs import MODEL, Costs, Lowered
from quantbench.experiment.outputs import told_choice
from quantbench.experiment.preprocessing import preprocessed_otherwise
from quantbench.experiment.reference_answers import kept_evaluation
from quantbench.experiment.rivals import Fastest, fastest_fp32
from quantbench.experiment.soundness import soundness, spare_outputs
from quantbench.experiment.workload import changed_splits
from quantbench.foreign import about
from quantbench.golden import baselines
from quantbench.measure.evaluation import Evaluation
from quantbench.records.card import BaselineCard
from quantbench.torch_process import get_threads

# Of the reference's accuracy from its card's, 0..1, and in samples where there are few; a gate may be stricter.
LARGEST_DRIFT = 0.01
LARGEST_DRIFT_SAMPLES = 2


def _noted(artifact: Artifact, predictor: Predictor) -> list[str]:
    """Lines about what was done to samples and outputs because a file asks for it."""
    return [f"{artifact.path.name}: {note}" for note in predictor.notes]


@dataclass
class Baseline(Costs):
    """A workload's reference, measured once for all its experiments.

    Attributes:
        warnings: lines about the reference, once it was evaluated.
        keeps_files: the evaluation of a reference that is a file is cached too.
    """

    warnings: list[str] = field(default_factory=list)
    keeps_files: bool = False
    _lowered: dict[str, Costs] = field(default_factory=dict)

    @cached_property
    def _built(self) -> BuiltArtifact:
        with about(MODEL):
            return reference(self.opened)

    @cached_property
    def artifact(self) -> Artifact:
        """The fp32 model with its weights, as a file, or the file that is given."""
        return self._built.artifact

    @property
    def probe(self) -> Outputs:
        """Its outputs for a few test samples."""
        return self._built.probe

    def lowered_to(self, backend: Backend) -> Costs:
        """The reference as the candidates of a backend are compared with it in size, work, memory and speed.

        It is the reference itself where that backend has no format of its own.

        Raises:
            QuantizationError: if the reference cannot be written in the backend's format.
        """
        key = repr((backend.spec.name, sorted(backend.spec.params.items(), key=str)))
        if key not in self._lowered:
            made = lowered(self.opened, backend, self.artifact)
            self._lowered[key] = self if made is None else Lowered(self.opened, made.artifact)
        return self._lowered[key]

    @cached_property
    def evaluation(self) -> Evaluation:
        """On the test split."""
        predictor = self.loaded(get_threads())
        with about(MODEL):
            found = kept_evaluation(self.opened, self.artifact, predictor, self.keeps_files)
            told = told_choice(self.opened.task, self.probe)
            self.warnings += [*spare_outputs(self.opened, predictor), *told, *_noted(self.artifact, predictor)]
            return found

    @cached_property
    def checked_evaluation(self) -> Evaluation:
        """The same, as accurate as the card of the weights says.

        Same weights on the same samples give the same answers, but for a rare tie that another processor rounds
        otherwise. Code that changed since is what else can differ, and a candidate of it would be compared with that.

        Raises:
            BaselineError: if the accuracy is another.
        """
        found, opened = self.evaluation, self.opened
        if (config := opened.workload.config.reference) is not None:
            # It has no card that tells its accuracy; what can be told is that it has learned something.
            signs = soundness(opened, found)
            if signs.doubt and not config.accept_accuracy:
                where, otherwise = opened.workload.where("reference"), self._preprocessed_otherwise()
                raise BaselineError(
                    f"{where}: {signs.doubt}{otherwise}; nothing is compared with it, unless reference.accept_accuracy "
                    "is set (compare: --accept-accuracy)"
                )
            otherwise = self._preprocessed_otherwise(found.accuracy) if signs.is_weak else ""
            self.warnings += [f"{line}{otherwise}" for line in signs.notes[:1]] + signs.notes[1:]
            self._check_guess(found)
            return found
        card = baselines.load_card(opened.weights_path, opened.train_command)
        if card.accuracy is None or not opened.task.is_binary:
            return self._checked_score(found, card)
        allowed = max(LARGEST_DRIFT, LARGEST_DRIFT_SAMPLES / len(found.correct))
        if "test" in changed_splits(card, opened.splits) or abs(found.accuracy - card.accuracy) <= allowed:
            return found
        raise BaselineError(
            f"{MODEL}: its accuracy is {100 * found.accuracy:.2f} % here and {100 * card.accuracy:.2f} % on its card "
            f"(n={len(found.correct):,}), more than {100 * allowed:g} pp apart for the same weights and samples: "
            "nothing is compared with it; restore the code of model, data or task, or make weights for it as it is: "
            f"{opened.train_command}"
        )

    def _check_guess(self, found: Evaluation) -> None:
        """Refuses statistics of pictures that were guessed, if others surely make the reference more accurate."""
        if not self.opened.task.is_binary or not {"mean", "std"} & set(self.opened.workload.guessed):
            return
        otherwise = preprocessed_otherwise(self.opened, self.artifact, found.accuracy, is_guess=True)
        if otherwise is not None:
            raise BaselineError(
                f"{self.opened.workload.where('reference')}: its accuracy is {100 * found.accuracy:.1f} % "
                f"(n={len(found.correct):,}) with statistics that were guessed, and {otherwise}; say which the model "
                "was trained with: --param 'mean=[…]' --param 'std=[…]'"
            )

    def _checked_score(self, found: Evaluation, card: BaselineCard) -> Evaluation:
        """The evaluation by a task whose scores are not 0 and 1."""
        opened, name = self.opened, self.opened.workload.config.task.name
        figure = opened.task.figure(found.statistics)
        if card.score is None or card.score.task != name:
            was = "top1" if card.score is None else card.score.task
            raise BaselineError(
                f"{MODEL}: its card is of task '{was}', and the workload's is '{name}'; make weights for it: "
                f"{opened.train_command}"
            )
        away = abs(figure - card.figure)
        if "test" in changed_splits(card, opened.splits) or away <= LARGEST_DRIFT * max(abs(card.figure), abs(figure)):
            return found
        raise BaselineError(
            f"{MODEL}: its {opened.task.unit} is {figure:.4g} here and {card.figure:.4g} on its card "
            f"(n={len(found.scores):,}), more than {100 * LARGEST_DRIFT:g} % apart for the same weights and samples: "
            "nothing is compared with it; restore the code of model, data or task, or make weights for it as it is: "
            f"{opened.train_command}"
        )

    def _preprocessed_otherwise(self, beyond: float = 0.0) -> str:
        """Words about other statistics, or another layout, with which the reference is surely more accurate than that.

        Empty if none is.
        """
        found = preprocessed_otherwise(self.opened, self.artifact, beyond)
        return "" if found is None else f"; {found}"

    @property
    def left_out(self) -> list[str]:
        """Lines about forms of the reference that cannot be timed; empty before they were looked at."""
        return list(self.fastest.left_out) if "fastest" in vars(self) else []

    @cached_property
    def fastest(self) -> Fastest:
        """The fastest form of the reference at hand, of all runtimes. What int8 must beat to be worth it."""
        return fastest_fp32(self, self.lowered_to)
