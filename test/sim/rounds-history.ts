/**
 * The checker of conditional writes: whether the history of one key is linearizable, that is, whether
 * each operation can be given one moment between its call and its answer, so that all results are those
 * of one object that is changed by one operation at a time (Wing and Gong's search, with memory).
 *
 * Exact are conditional writes and deletions, plain ones, and `newest` reads. An operation that was
 * answered with an error, or not at all, took effect at most once: at any moment from its call on, or
 * never. A failed condition is a read. What a plain deletion or metadata update says of the object that
 * it found comes from a majority's word, not from the rounds, and proves nothing here.
 */

export type Guard =
  | { readonly kind: 'always' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'present' }
  /** The version that this put made. */
  | { readonly kind: 'match'; readonly value: number };

export type Action =
  | { readonly kind: 'put'; readonly value: number; readonly guard: Guard }
  | { readonly kind: 'delete'; readonly guard: Guard }
  /** Replaces the metadata; `value` names them. */
  | { readonly kind: 'post'; readonly value: number; readonly guard: Guard }
  /** `isWhole`: of its bytes, too. */
  | { readonly kind: 'read'; readonly isWhole?: boolean };

/** What the object is: which put's body, and whose metadata. */
export interface Version {
  readonly value: number;
  readonly tag: number;
}

export type Result =
  | { readonly kind: 'done'; readonly wasLive?: boolean }
  | { readonly kind: 'refused' }
  | { readonly kind: 'read'; readonly version: Version | undefined }
  /** Error or silence. */
  | { readonly kind: 'maybe' };

export interface Call {
  readonly action: Action;
  readonly via: string;
  /** Order of events in the run: calls and answers are numbered as they happen. */
  readonly called: number;
  answered: number | undefined;
  result: Result | undefined;
}

type State = Version | undefined;

/** `unknown`: too many possibilities to try. */
export type Judgement = 'linearizable' | 'violated' | 'unknown';

const MAX_STEPS = 2_000_000;

export function judge(calls: readonly Call[]): Judgement {
  return new Search(calls).run();
}

/**
 * Whether nobody was told of this write: without it, too, one object could have done all that everybody
 * was told. Whose metadata were acknowledged was told that something is there.
 */
export function isUntold(calls: readonly Call[], write: Call): boolean {
  if (!isMaybe(write)) return false;
  const others = calls.filter((call) => call !== write).map(provesPresence);
  return judge(others) === 'linearizable';
}

function provesPresence(call: Call): Call {
  const { action } = call;
  if (action.kind !== 'post' || isMaybe(call) || action.guard.kind !== 'always') return call;
  return { ...call, action: { ...action, guard: { kind: 'present' } } };
}

class Search {
  /** Must take effect, by their answers. */
  readonly #definite: readonly Call[];
  /** May, once. */
  readonly #maybe: readonly Call[];
  readonly #seen = new Set<string>();
  #steps = 0;

  constructor(calls: readonly Call[]) {
    const known = calls.filter((call) => !isMaybe(call));
    this.#definite = known.toSorted((a, b) => a.answered! - b.answered!);
    // A read without an answer tells nothing and changes nothing.
    this.#maybe = calls.filter((call) => isMaybe(call) && call.action.kind !== 'read');
  }

  run(): Judgement {
    const found = this.#from(new Array(this.#definite.length).fill(false), 0, new Set(), undefined);
    return found === undefined ? 'unknown' : found ? 'linearizable' : 'violated';
  }

  /** `done`: which definite calls have their moment; all before `first` do. */
  #from(done: boolean[], first: number, used: Set<number>, state: State): boolean | undefined {
    while (first < done.length && done[first]) first++;
    if (first === done.length) return true;
    if (++this.#steps > MAX_STEPS) return undefined;
    const key = keyOf(done, first, used, state);
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    // Nothing that is called after this answer can come before it.
    const horizon = this.#horizon(done, first);
    for (let i = first; i < this.#definite.length; i++) {
      const call = this.#definite[i]!;
      if (done[i] || call.called > horizon) continue;
      const next = after(call, state);
      if (next === 'impossible') continue;
      done[i] = true;
      const found = this.#from(done, first, used, next.state);
      done[i] = false;
      if (found !== false) return found;
    }
    return this.#tryMaybes(done, first, used, state, horizon);
  }

  #tryMaybes(
    done: boolean[],
    first: number,
    used: Set<number>,
    state: State,
    horizon: number,
  ): boolean | undefined {
    for (const [i, call] of this.#maybe.entries()) {
      if (used.has(i) || call.called > horizon) continue;
      const next = after(call, state);
      if (next === 'impossible' || same(next.state, state)) continue;
      used.add(i);
      const found = this.#from(done, first, used, next.state);
      used.delete(i);
      if (found !== false) return found;
    }
    return false;
  }

  #horizon(done: readonly boolean[], first: number): number {
    for (let i = first; i < done.length; i++) if (!done[i]) return this.#definite[i]!.answered!;
    return Number.POSITIVE_INFINITY;
  }
}

function isMaybe({ result }: Call): boolean {
  return result === undefined || result.kind === 'maybe';
}

function keyOf(
  done: readonly boolean[],
  first: number,
  used: ReadonlySet<number>,
  state: State,
): string {
  let key = `${state?.value ?? ''}/${state?.tag ?? ''}/${first}`;
  for (let i = first + 1; i < done.length; i++) if (done[i]) key += `,${i}`;
  return `${key}/${[...used].sort((a, b) => a - b).join(',')}`;
}

function same(a: State, b: State): boolean {
  return a?.value === b?.value && a?.tag === b?.tag;
}

/** The state after the call takes effect, or that it can't have had its result here. */
function after({ action, result }: Call, state: State): { state: State } | 'impossible' {
  if (action.kind === 'read') {
    if (result?.kind !== 'read') return { state };
    return same(result.version, state) ? { state } : 'impossible';
  }
  const holds = allows(action.guard, state);
  if (result?.kind === 'refused') return holds ? 'impossible' : { state };
  if (!holds) return 'impossible';
  const wasLive = result?.kind === 'done' ? result.wasLive : undefined;
  if (wasLive !== undefined && wasLive !== (state !== undefined)) return 'impossible';
  return { state: changed(action, state) };
}

function changed(action: Exclude<Action, { kind: 'read' }>, state: State): State {
  switch (action.kind) {
    case 'put':
      return { value: action.value, tag: action.value };
    case 'delete':
      return undefined;
    case 'post':
      return state && { value: state.value, tag: action.value };
  }
}

function allows(guard: Guard, state: State): boolean {
  switch (guard.kind) {
    case 'always':
      return true;
    case 'absent':
      return state === undefined;
    case 'present':
      return state !== undefined;
    case 'match':
      return state?.value === guard.value;
  }
}

/** For a failure's message, in the order of the calls. */
export function describeCalls(calls: readonly Call[]): string[] {
  return calls.map(({ action, via, called, answered, result }) => {
    const what =
      action.kind === 'read'
        ? 'read'
        : `${action.kind} ${'value' in action ? action.value : ''} if ${JSON.stringify(action.guard)}`;
    return `${called}-${answered ?? ''} ${what} via ${via}: ${JSON.stringify(result ?? 'no answer')}`;
  });
}
