"""Words of made-up reviews."""

from __future__ import annotations

from typing import Final


def _bank(listed: str) -> tuple[str, ...]:
    """Words and phrases, listed with commas between them."""
    return tuple(" ".join(phrase.split()) for phrase in listed.split(","))


PRAISE_MILD: Final = _bank(
    """good, enjoyable, pleasant, solid, charming, likeable, decent, warm, amusing, engaging,
    clever, touching, entertaining, watchable, thoughtful, lively, sweet, witty, polished,
    agreeable, tender, assured, graceful, appealing, playful, sincere, neat, crisp, inventive,
    spirited, cheerful, handsome, refreshing, effective, elegant, genial, nimble, heartfelt,
    sturdy, wry, limber, well-judged, good-natured, sure-footed, quick-witted, even-handed,
    soft-hearted, well-oiled, big-hearted, clear-eyed"""
)
PRAISE_STRONG: Final = _bank(
    """superb, brilliant, wonderful, magnificent, stunning, flawless, unforgettable, outstanding,
    dazzling, masterful, breathtaking, extraordinary, perfect, glorious, sublime, astonishing,
    exquisite, triumphant, spellbinding, marvellous, phenomenal, majestic, electrifying,
    incomparable, radiant, priceless, heart-stopping, jaw-dropping, awe-inspiring, soul-stirring"""
)
BLAME_MILD: Final = _bank(
    """bland, uneven, predictable, flat, slow, forgettable, clumsy, thin, dull, weak, stale, tired,
    tepid, stiff, muddled, routine, shallow, overlong, drab, awkward, lifeless, messy, limp,
    hollow, plodding, contrived, sluggish, dreary, mechanical, patchy, strained, undercooked,
    wooden, derivative, humdrum, listless, creaky, soggy, half-baked, heavy-handed, ham-fisted,
    by-the-numbers, wishy-washy, slapdash, long-winded, tone-deaf, lukewarm, threadbare, mousy,
    disjointed"""
)
BLAME_STRONG: Final = _bank(
    """awful, terrible, dreadful, horrible, atrocious, unbearable, abysmal, pathetic, appalling,
    laughable, insulting, disgraceful, wretched, excruciating, idiotic, shameful, horrendous,
    unwatchable, miserable, ghastly, pitiful, worthless, abominable, repulsive, moronic,
    embarrassing, insufferable, brain-numbing, mind-numbing, soul-destroying"""
)

VIRTUES: Final = _bank(
    """charm, wit, tension, heart, depth, suspense, imagination, laughs, energy, warmth, chemistry,
    surprises, style, atmosphere, emotion, humour, intelligence, excitement, thrills, sparkle,
    magic, subtlety, passion, originality, grace, honesty, momentum, personality, insight,
    invention, craft, poetry, confidence, conviction, tenderness, elegance, vigour, mischief,
    nuance, sincerity, polish, daring, grandeur, playfulness, menace, intrigue, zest, delight,
    precision, wonder, joy, bite, rhythm, ambition"""
)
FLAWS: Final = _bank(
    """clichés, padding, preaching, confusion, nonsense, sentimentality, repetition, melodrama,
    mistakes, boredom, contrivances, pretension, loopholes, stereotypes, exposition, mugging,
    shouting, silliness, laziness, blunders, gimmicks, overacting, filler, waffle, posturing,
    mumbling, platitudes, vulgarity, smugness, fakery, sloppiness, tedium, coincidences,
    whining, bluster, schmaltz, inconsistencies, monotony, cheapness, dithering, navel-gazing,
    slack, clumsiness, gaffes, drivel, bombast, hysterics, hokum, cynicism, pandering,
    moralising, stodge, murk, wobbles, anachronisms, detours"""
)
PRESENT: Final = _bank(
    """real, plenty of, so much, endless, lots of, constant, abundant, genuine, heaps of, ample,
    bags of, unmistakable"""
)
ABSENT: Final = _bank(
    """no, little, hardly any, zero, not much, no real, scant, barely any, precious little,
    minimal, not a trace of, less"""
)

GOOD_VERBS: Final = _bank(
    """charms, surprises, delights, convinces, grips, sparkles, soars, sings, moves, amuses,
    dazzles, clicks, thrills, intrigues, rewards, shines, captivates, flows, inspires, uplifts,
    beguiles, enchants, sizzles, glows, impresses, satisfies, gleams, crackles, purrs, bewitches"""
)
BAD_VERBS: Final = _bank(
    """drags, bores, annoys, stumbles, sags, irritates, disappoints, falters, meanders, grates,
    flounders, rambles, fizzles, stalls, patronises, preaches, confuses, collapses, plods,
    wobbles, misfires, limps, exhausts, wearies, offends, blunders, lumbers, splutters, flags,
    dithers"""
)
ALWAYS: Final = _bank("really, often, always, constantly, simply, repeatedly, mostly, quietly")
NEVER: Final = _bank("never, hardly, rarely, seldom, scarcely, hardly ever, barely, never quite")
NEGATIONS: Final = _bank(
    """never, not at all, hardly, far from, anything but, in no way, not remotely"""
)

GOOD_THINGS: Final = _bank(
    """sunrise, feast, hug, holiday, banquet, lullaby, fireworks, homecoming, bonfire, orchard,
    hammock, serenade, birthday, oasis, waltz, rainbow, picnic, carnival, symphony, jackpot,
    medal, bouquet, gem, heirloom, cocoa, daydream, sunflower, reunion, honeymoon, masterclass,
    nightingale, embrace"""
)
BAD_THINGS: Final = _bank(
    """hangover, toothache, traffic jam, puddle, headache, migraine, swamp, drizzle, root canal,
    lecture, tax return, queue, flat tyre, blister, splinter, leftovers, chore, landfill, power
    cut, nosebleed, waiting room, car alarm, speeding ticket, cold soup, wasp sting, sermon,
    detention, seasickness, parking fine, dial tone, shipwreck, mildew"""
)
THING_ADJECTIVES: Final = _bank(
    """long-awaited, late-night, small-town, two-hour, winter, private, seaside, wartime, village,
    family, week-long, four-course, silent, midnight, schoolroom, childhood, mountain, weekend,
    summer, distant"""
)

ASPECTS: Final = _bank(
    """acting, script, photography, music, direction, dialogue, editing, pacing, plot, ending,
    story, cast, soundtrack, camerawork, screenplay, opening, finale, costume design, lighting,
    supporting cast, set work, sound mix, score, narration, humour, romance, mystery,
    atmosphere, first act, second half, climax, staging"""
)
RELATIVES: Final = _bank(
    """brother, sister, husband, wife, neighbour, flatmate, cousin, aunt, grandfather, daughter,
    son, fiancée, colleague, boss, uncle, landlady"""
)
TIMES: Final = _bank(
    """on a rainy Tuesday, last weekend, late one night, on a long flight, at a small festival, in
    a half-empty theatre, on an old tape, at the café cinema, during the holidays, after dinner,
    on cable, in a double bill"""
)
JOBS: Final = _bank(
    """lighthouse keeper, detective, baker, widow, soldier, surgeon, schoolteacher, smuggler,
    journalist, pianist, clockmaker, sailor, farmhand, nurse, lawyer, magician, taxi driver,
    photographer, gardener, diplomat, waitress, locksmith, beekeeper, cartographer, chess
    player, priest, thief, botanist, welder, ferryman, tailor, astronomer"""
)
PLACES: Final = _bank(
    """harbour, monastery, border town, railway station, hotel, island, factory, vineyard, desert
    outpost, hospital, circus, academy, castle, suburb, fishing village, submarine, courthouse,
    embassy, lighthouse, warehouse, mountain pass, boarding school, casino, greenhouse,
    observatory, quarry"""
)
OBJECTS: Final = _bank(
    """letter, map, suitcase, photograph, violin, key, diary, ring, painting, ledger, telegram,
    necklace, notebook, coin, passport, recipe, mirror, clock, compass, music box"""
)
PLOT_TURNS: Final = _bank(
    """discovers, inherits, steals, loses, hides, returns with, is sent to find, trades away,
    buries, finds out about, goes looking for, is asked to guard, finally hands over, cannot
    forget"""
)
MOMENTS: Final = _bank(
    """in the first half hour, shortly before the war, one winter morning, after the funeral,
    during the storm, on the way north, by the second reel, at the wedding, years later, at the
    same time, a week before the election, when the train stops"""
)

OPENERS: Final = (
    "I watched {film} {time} with my {relative}.",
    "{film} is a film by {director} with {lead} as the {job}.",
    "My {relative} picked {film} {time}, so here we are.",
    "I had read about {film} before I saw it {time}.",
    "{director} made {film} after years in television.",
    "So, {film}, the one with {lead} and {rival}.",
)
FILLERS: Final = (
    "{lead} plays {a_job} who {turn} {an_object} {moment}.",
    "The story is set in {a_place}, where {a_job} named {name} {turn} {an_object}.",
    "{moment_start}, the {job} {turn} the {object} and leaves for the {place}.",
    "There is also {a_job}, played by {rival}, who {turn} the {object}.",
    "Most of it takes place in {a_place} and later in {a_place}.",
    "Then {name} meets {a_job} at the {place} {moment}.",
    "{rival} is the {job} here, and {lead} shares several scenes with that character.",
    "It was shot in and around {a_place}, I believe.",
    "The {object} belongs to {a_job}, and by then {name} knows about the {place}.",
    "My {relative} saw it {time} and told me about the {job} and the {object}.",
    "{director} also wrote the scene at the {place} with the {object}.",
    "Without giving away more, the {object} turns up again in the {place}.",
    "The rest concerns {name}, {a_job}, and what happens at the {place} {moment}.",
    "I had seen {rival} as {a_job} in something else, and my {relative} had too.",
    "{name} {turn} the {object}, {moment}, and nobody at the {place} asks why.",
    "The credits say that {director} wrote it in {a_place}, which explains the {object}.",
    "{moment_start} we learn what the {job} did with the {object}.",
    "{lead} and {rival} were also in a series about {a_job} in {a_place}.",
    "From there it moves to {a_place}, and to {a_job} who {turn} {an_object}.",
    "Half of the people I know saw it {time}, the other half have not heard of it.",
    "My {relative}, who is {a_job}, asked about the {object} {moment}.",
    "The {place} is where {name} {turn} the {object} for the second time.",
    "It runs for about two hours, with {a_place}, {a_job} and {an_object} in most of them.",
    "If you remember the {object} from the {place}, this is the same {object}.",
)
PLAIN_OPINIONS: Final = (
    "The {aspect} is {quality}.",
    "I found the {aspect} {quality} and the {aspect} {quality}.",
    "{lead} gives {a_quality} performance.",
    "It is {a_quality} piece of work, with {quality} {aspect}.",
    "{director} has made {a_quality} film here.",
    "The {aspect} was {not_opposite}, and my {relative} said the same.",
    "At the {place} there is {a_quality} scene with {rival}.",
    "The {aspect} is {other_quality}, but the {aspect} is {quality}.",
    "Even if the {aspect} seems {other_quality}, it is {not_opposite} in the end.",
)
SUBTLE_OPINIONS: Final = (
    "You get {amount} in the {aspect}.",
    "With {amount} and {amount}, the {aspect} stays in the mind.",
    "What you get is {amount}.",
    "The {aspect} {behaviour}.",
    "It {behaviour}, from the {place} to the last shot.",
    "When {lead} is on screen, it {behaviour}.",
    "Watching it felt like {a_thing}.",
    "The {aspect} is {a_thing}, and the {aspect} {behaviour}.",
    "{rival} brings {amount} to the part of the {job}.",
    "People talk about {other_amount}, yet the {aspect} {behaviour}.",
)
VERDICTS: Final = (
    "All in all, {a_quality} film.",
    "In short, {film} is {quality}.",
    "My verdict: {amount}, and {quality} {aspect}.",
    "I would call it {a_quality} evening with {amount}.",
    "To sum up, it {behaviour}.",
)

ONSETS: Final = _bank(
    """b, br, c, d, dr, f, g, gr, h, j, k, kl, l, m, n, p, r, s, st, t, tr, v, w, z"""
)
VOWELS: Final = _bank("a, e, i, o, u, ai, ei, ia, ou, é")
CODAS: Final = _bank("l, m, n, r, s, t, x, nd, rk, lle, sch, vik, ska")
TITLES: Final = (
    "The {object} of {word}",
    "{word}",
    "The {job} from {word}",
    "Goodbye, {word}",
    "{word} by Night",
    "The {place} at {word}",
    "Return to {word}",
    "Nobody Knows {word}",
)
