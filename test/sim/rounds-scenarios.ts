/**
 * The interleavings that the rules of conditional rounds close and random seeds meet too seldom. Devices
 * are called as a proxy calls them, each call at its moment; a, b, c are the primaries.
 */
import assert from 'node:assert/strict';
import type { EntryState } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import { codeOf } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { objectPath } from '#base/names.ts';
import { type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { PromiseReply, WriteReply } from '#object/calls.ts';
import { IF_ABSENT } from '#proxy/condition.ts';
import { BOX, type Name, NEW, OLD, type Stage, type StagedScenario } from './stage.ts';

const KEY = 'lock';
const TAG = 'x-object-meta-tag';

/** A round of one proxy, by one ring version. */
class Ballot {
  readonly at: Timestamp;
  readonly #stage: Stage;
  readonly #ringVersion: number;
  readonly #content: string;

  constructor(stage: Stage, content: string, ringVersion = 1) {
    this.#stage = stage;
    this.#content = content;
    this.#ringVersion = ringVersion;
    this.at = stage.node('a').process!.clock.now();
  }

  /** Who promises tells that there is nothing yet: a condition "absent" holds. */
  async promise(...devices: readonly Name[]): Promise<void> {
    for (const device of devices) {
      const reply = (await this.#call(device, 'object.promise', {
        ballot: this.at,
      })) as PromiseReply;
      assert.equal(reply.outcome, 'promised');
      assert.equal(reply.state, null);
      assert.equal(reply.complete || device === 'd', true);
    }
  }

  /** Comes before a round that is under way, whatever is there. */
  async precede(device: Name): Promise<void> {
    await this.#call(device, 'object.promise', { ballot: this.at });
  }

  /** True: all of them count as having it. */
  async accept(...devices: readonly Name[]): Promise<boolean> {
    let all = true;
    for (const device of devices) {
      const record = this.record('accept', ZERO_TIMESTAMP);
      const asked = this.#call(device, 'object.accept', record) as Promise<WriteReply>;
      const told = await asked.then(({ outcome }) => outcome, codeOf);
      if (told !== 'stored') all = false;
    }
    return all;
  }

  /** What replication brings: a copy, which acknowledges nothing. Without `base`: of a plain write. */
  async join(device: Name, base?: Timestamp): Promise<void> {
    await this.#call(device, 'object.write', this.record('join', base));
  }

  /** That of a plain deletion. */
  async joinDeletion(device: Name): Promise<void> {
    const none = { clientMicros: 0, etag: '', size: 0, contentType: '' };
    const data = {
      timestamp: this.at,
      kind: 'deleted' as const,
      writeId: this.at.slice(4),
      ...none,
    };
    const state = encodeState({ data, groups: {} });
    await this.#call(device, 'object.write', { intent: 'join', state });
  }

  record(intent: 'accept' | 'join', base: Timestamp | undefined) {
    const body = Buffer.from(this.#content);
    const data = {
      timestamp: this.at,
      kind: 'live' as const,
      writeId: this.at.slice(4),
      clientMicros: 0,
      etag: this.#content,
      size: body.length,
      contentType: 'text/plain',
      body: { length: body.length },
      ...(base !== undefined && { base }),
    };
    const groups = { user: { timestamp: this.at, values: { [TAG]: this.#content } } };
    return { intent, state: encodeState({ data, groups }), body };
  }

  #call(device: Name, method: string, args: object): Promise<unknown> {
    return this.#stage.call(device, method, KEY, this.#ringVersion, args);
  }
}

async function newest(stage: Stage, via: Name): Promise<string | undefined> {
  let text: string | undefined;
  await stage.until(`a newest read via ${via}`, async () => {
    text = await stage.get(via, KEY, 'newest');
    return true;
  });
  return text;
}

/** At each of the devices before anything that is sent now: what replication brings there. */
function joinAt(stage: Stage, names: readonly Name[], state: EntryState, body?: Buffer): void {
  const { hashPrefix, hashSuffix } = stage.cluster.shape.view;
  const path = objectPath({ ...BOX, object: KEY });
  const key = { policy: 0, hash: hashPath(hashPrefix, path, hashSuffix) };
  for (const name of names) {
    const node = stage.node(name);
    const { device } = node.process!.storage.open().get(node.shape.devices[0]!)!;
    void device.write({ key, path, state, body, unlisted: false, intent: 'join' });
  }
}

export const ROUND_SCENARIOS: readonly StagedScenario[] = [
  {
    // Seed 902047 (--brief): the copy freed the body that the record was to keep, on all replicas.
    name: 'a record that keeps the body of a version is not taken where a copy of another has replaced it',
    mutants: ['accept-without-the-body'],
    run: async (stage) => {
      assert.ok(await stage.put('a', KEY, 'kept'));
      await stage.until('all have it', async () => (await stage.stat('c', KEY, 1)).hasBody);
      const { clock } = stage.node('a').process!;
      const between = new Ballot(stage, 'between').record('join', undefined);
      // No two are equal, so a newest read settles: a record above all, which keeps the body.
      for (const name of ['b', 'c'] as const) {
        const user = { timestamp: clock.now(), values: { [TAG]: name } };
        joinAt(stage, [name], { groups: { user } });
      }
      stage.onceSent('object.accept', () => {
        joinAt(stage, OLD, decodeState(between.state), between.body);
      });
      const told = await newest(stage, 'b');
      assert.ok(told === 'kept' || told === 'between', 'what was acknowledged is lost');
    },
  },
  {
    name: 'a copy of a record that came under a higher promise is no acknowledgement',
    mutants: ['acknowledge-already-have'],
    run: async (stage) => {
      const [first, second] = [new Ballot(stage, 'first'), new Ballot(stage, 'second')];
      await first.promise('a', 'b');
      assert.ok(await first.accept('a'));
      await second.promise('b', 'c');
      await first.join('b', ZERO_TIMESTAMP);
      const both = (await first.accept('b')) && (await second.accept('b', 'c'));
      assert.ok(!both, 'two rounds that saw nothing have a majority each');
    },
  },
  {
    name: 'a round does not outlive its ring',
    mutants: ['accept-across-ring-versions'],
    run: async (stage) => {
      const first = new Ballot(stage, 'first');
      await first.promise('b', 'c');
      stage.publish(['a', 'b', 'd'], NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(['a', 'b', 'd'], NEW);
      const second = new Ballot(stage, 'second', 3);
      await second.promise('a', 'd');
      const both = (await second.accept('a', 'd')) && (await first.accept('b', 'c'));
      assert.ok(!both, 'two rounds that saw nothing have a majority each');
    },
  },
  {
    name: 'a promise is remembered after a power failure, and what came under it is not certain',
    mutants: ['promise-not-synced', 'promises-make-nothing-uncertain'],
    run: async (stage) => {
      const [early, round] = [new Ballot(stage, 'early'), new Ballot(stage, 'round')];
      await round.promise('a', 'b');
      stage.node('a').crash('lost');
      stage.node('a').start();
      await stage.until('a is back', () => stage.node('a').process !== undefined);
      // A plain write that nobody was told of, older than the ballot, is copied meanwhile.
      await early.join('c');
      await early.join('a');
      assert.ok(await round.accept('b'));
      stage.cut('b', 'a', 'c');
      const before = await newest(stage, 'c');
      stage.heal();
      stage.cut('c', 'a', 'b');
      const after = await newest(stage, 'b');
      assert.equal(before, 'early');
      assert.equal(after, before, 'the record of a round that saw nothing came over what was read');
    },
  },
  {
    name: 'a condition that something undecided makes false is refused only when that is decided',
    mutants: ['refuse-without-re-assertion'],
    run: async (stage) => {
      const first = new Ballot(stage, 'first');
      await first.promise('a', 'b');
      assert.ok(await first.accept('a'));
      stage.cut('c', 'a');
      assert.equal(await stage.write('a', KEY, 'new', IF_ABSENT), 'precondition-failed');
      stage.heal();
      stage.cut('a', 'b', 'c');
      assert.equal(await newest(stage, 'b'), 'first', 'a refusal that saw nothing');
    },
  },
  {
    name: 'what a newest read has told stays, though a later round had accepted something lower elsewhere',
    mutants: ['re-assert-without-re-stamping', 'newest-reads-settle-nothing'],
    run: async (stage) => {
      const [first, second] = [new Ballot(stage, 'first'), new Ballot(stage, 'second')];
      await first.promise('a', 'b');
      await second.promise('b', 'c');
      assert.ok(await first.accept('a'));
      assert.ok(await second.accept('c'));
      stage.cut('c', 'a', 'b');
      assert.equal(await newest(stage, 'a'), 'first');
      stage.heal();
      stage.cut('a', 'b', 'c');
      assert.equal(
        await newest(stage, 'b'),
        'first',
        'the record of a round that saw nothing surfaced',
      );
    },
  },
  {
    name: 'what is settled keeps its metadata',
    mutants: ['re-assert-without-stamping-the-groups'],
    run: async (stage) => {
      const first = new Ballot(stage, 'first');
      await first.promise('a', 'b');
      assert.ok(await first.accept('a'));
      stage.cut('c', 'a');
      assert.equal(await newest(stage, 'a'), 'first');
      const { groups } = (await stage.state('a', KEY, 'newest'))!;
      assert.equal(
        groups['user']?.values[TAG],
        'first',
        'a settled version that saw nothing of its metadata',
      );
    },
  },
  {
    name: "a writer that a rival has come before finds its own record, and does not take it for the rival's",
    mutants: ['retry-after-an-accept-as-new'],
    run: async (stage) => {
      const rival = new Promise<void>((resolve) => {
        stage.onceSent('object.accept', () => {
          for (const name of ['b', 'c'])
            stage.world.network.setLinkBothWays('a', name, { delayMs: 50 });
          const ballot = new Ballot(stage, 'rival');
          resolve(ballot.promise('b', 'c'));
        });
      });
      const told = await stage.write('a', KEY, 'new', IF_ABSENT);
      await rival;
      assert.equal(told, 'stored', 'a writer was refused that saw nothing but its own record');
      assert.equal(await newest(stage, 'b'), 'new');
    },
  },
  {
    // Rounds seed 1020. d decides on a deletion that only c knows, and only c takes its record.
    name: 'a writer is refused only when what one replica took of its record can not surface any more',
    mutants: ['refuse-what-may-surface'],
    run: async (stage) => {
      assert.ok(await stage.put('a', KEY, 'old'));
      await stage.until('all have it', async () => (await stage.stat('c', KEY, 1)).hasBody);
      await new Ballot(stage, 'deletion').joinDeletion('c');
      stage.world.network.setLinkBothWays('d', 'b', { delayMs: 200 });
      const rival = new Promise<void>((resolve) => {
        stage.onceSent('object.accept', () => {
          resolve(new Ballot(stage, 'rival').precede('a'));
          stage.onceSent('object.promise', () => stage.cut('d', 'c'));
        });
      });
      const told = await stage.write('d', KEY, 'new', IF_ABSENT);
      await rival;
      stage.heal();
      stage.cut('b', 'a', 'c');
      assert.equal(told, 'precondition-failed');
      assert.equal(
        await newest(stage, 'c'),
        'old',
        'a refused write took effect, of which its writer saw nothing',
      );
    },
  },
];
