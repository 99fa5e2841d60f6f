from pipelines import config, steps
from tests.builders import *


def test_x(stores, configure):
    uri = deliver(stores, landing_key("a.csv"), as_csv(some_rows(30)))
    for u in steps.find_deliveries(NIGHT):
        a = steps.land(u, NIGHT)
        steps.accept(a, steps.validate(a))
    print(steps.summarize_night(NIGHT))
    print(listing(stores.reviews))
    configure(
        intake={"max_rows": 10}, candidates={"x": {"factory": "a:b", "parameters": {"q": 1.5}}}
    )
    print(config.load().intake, config.load().candidates)
