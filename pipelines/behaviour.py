from pipelines.judgement import BehaviourScores, CapabilityScore


class Suite:
    digest = "a" * 64

    def texts(self):
        return ("A superb film.",)


def load_suite(folder):
    return Suite()


def score(suite, p):
    return BehaviourScores(
        suite=suite.digest,
        capabilities=(
            CapabilityScore(
                capability="x", kind="direction", cases=1, failures=0, max_failure_share=0.1
            ),
        ),
    )
