/**
 * object.stage, object.staged, object.abandon, and a write whose body was staged: bytes are durable first and have no
 * effect, then a commit that names their stage makes them current.
 */
import { newestTimestamp, sameBody } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import { ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { Entry, EntryKey, WriteOutcome } from '#device/contract.ts';
import type { CallContext, Reply } from '#wire/contract.ts';
import { parseStage, parseStaged } from './args.ts';
import type { StagedReply, StageReply } from './calls.ts';
import { type Commit, checkLength, type Store } from './commit.ts';
import type { Guard } from './guard.ts';
import type { Stage, Stages } from './stages.ts';

export class StagedWrites {
  readonly #guard: Guard;
  readonly #stages: Stages;

  constructor(guard: Guard, stages: Stages) {
    this.#guard = guard;
    this.#stages = stages;
  }

  readonly stage = async (args: unknown, context: CallContext): Promise<Reply> => {
    const request = parseStage(args);
    // By whatever ring: bytes that are staged have no effect, and a long upload must outlive a ring change.
    const device = this.#guard.deviceById(request.device);
    this.#guard.checkName(request.path, request.hash);
    if (context.body === undefined) throw new OperatingError('malformed', 'a stage has a body');
    const key: EntryKey = { policy: request.policy, hash: request.hash };
    const body = await device.stage(key);
    let stage: string;
    try {
      for await (const chunk of context.body) await body.write(chunk);
      await body.finish();
      stage = this.#stages.add({ device, body, path: request.path });
    } catch (error) {
      await body.abandon();
      throw error;
    }
    const entry = device.stat(key);
    const result: StageReply = {
      stage,
      length: body.length,
      newest: entry === undefined ? ZERO_TIMESTAMP : newestTimestamp(entry.state),
      complete: device.completeness.isComplete(key.policy, key.hash),
    };
    return { result };
  };

  readonly abandon = async (args: unknown): Promise<Reply> => {
    const { device, stage } = parseStaged(args);
    const staged = this.#stages.take(stage, this.#guard.deviceById(device));
    await staged?.body.abandon();
    return { result: { abandoned: staged !== undefined } };
  };

  /** To one who has seen the bytes pass, and wants them on another device as well. */
  readonly staged = (args: unknown): Reply => {
    const { device, stage } = parseStaged(args);
    const found = this.#stages.lend(stage, this.#guard.deviceById(device));
    if (found === undefined) throw new OperatingError('no-stage', 'nothing is staged here');
    const { body } = found;
    return { result: { length: body.length } satisfies StagedReply, body: body.read() };
  };

  /** @throws OperatingError `no-stage`, `length-mismatch`; what storing throws */
  async commit(commit: Commit, id: string, store: Store): Promise<WriteOutcome> {
    const { device, key, request, state } = commit;
    const stage = this.#stages.take(id, device);
    if (stage !== undefined) return this.#use(commit, id, stage, store);
    const before = device.stat(key);
    // An earlier ballot of this write has used it, and its body has one name in all of them.
    const isKept = request.intent === 'accept' && before?.hasBody && sameBody(before.state, state);
    return isKept ? store(undefined) : repeat(commit, before, store);
  }

  /** A stage that did not become current is kept: its writer sends again with a higher timestamp. */
  async #use(
    { request, state }: Commit,
    id: string,
    stage: Stage,
    store: Store,
  ): Promise<WriteOutcome> {
    let stored = false;
    try {
      if (stage.path !== request.path)
        throw new OperatingError('malformed', 'stage of another name');
      checkLength(state, stage.body);
      const outcome = await store(stage.body);
      stored = outcome.kind === 'stored';
      return outcome;
    } finally {
      if (!stored) this.#stages.restore(id, stage);
    }
  }
}

/**
 * A commit that was sent twice finds its stage used. At the same timestamp it is done. At a higher one
 * (the others did not take the first) the body is copied, for what is here must be at what is acknowledged.
 */
async function repeat(
  { device, request, state: { data: own } }: Commit,
  before: Entry | undefined,
  store: Store,
): Promise<WriteOutcome> {
  const known = before?.state.data;
  if (before === undefined || own === undefined || known?.writeId !== own.writeId) {
    throw new OperatingError('no-stage', 'the staged body is not here (any more)');
  }
  const newest = newestTimestamp(before.state);
  if (known.timestamp === own.timestamp) return { kind: 'stored', newest };
  if (newest > own.timestamp && !request.afterRound) return { kind: 'superseded', newest };
  const body = await device.stage(before.key);
  let stored = false;
  try {
    const range = { start: 0, end: known.body?.length ?? 0 };
    for await (const chunk of device.read(before, range)) await body.write(chunk);
    await body.finish();
    const outcome = await store(body);
    stored = outcome.kind === 'stored';
    return outcome;
  } finally {
    if (!stored) await body.abandon();
  }
}
