/**
 * Deliberately broken variants of the product. Each is a small edit of a source file, made in memory
 * while the file is loaded (a module hook), in a process of its own: the product has no switches for
 * it. An edit whose text is no longer found is an error, so a mutant can't silently become the product.
 */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Fault } from './plan.ts';

export interface Mutant {
  readonly name: string;
  /** Below src/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Faults that bring it out; all kinds when left out. */
  readonly faults?: readonly Fault[];
  /** A brief seed that is known to catch it, tried first; none where a scenario does (scenarios.ts). */
  readonly seed?: number;
  /** Brought out by the run of conditional writes (rounds-run.ts). */
  readonly rounds?: boolean;
}

const CRASHES: readonly Fault[] = ['crash', 'blackout', 'kill'];
const MOVES: readonly Fault[] = ['ring-change', 'ring-lag', 'kill', 'partition-pair', 'one-way'];
const ABSENCES: readonly Fault[] = ['kill', 'partition-pair', 'one-way', 'drop-connections'];

const DISTURBED: readonly Fault[] = [
  'partition-pair',
  'one-way',
  'slow-link',
  'drop-connections',
  'kill',
];

/** Of the conditional rounds. */
const ROUNDS: readonly Mutant[] = [
  {
    name: 'promise-not-synced',
    file: 'device/operations.ts',
    find: "batch.add({\n      kind: 'promise',",
    replace: "void ({\n      kind: 'promise',",
    faults: ['crash', 'blackout', 'slow-link', 'one-way'],
  },
  {
    name: 'accept-without-the-body',
    file: 'device/operations.ts',
    find: "if (request.needsBody && change.body === 'none'",
    replace: 'if (change.body === undefined',
    faults: [],
  },
  {
    name: 'refuse-without-re-assertion',
    file: 'proxy/rounds.ts',
    find: "if (this.#isOver(round)) return { kind: 'refused', state: round.joined };",
    replace: "return { kind: 'refused', state: round.joined };",
    faults: DISTURBED,
  },
  {
    name: 're-assert-without-re-stamping',
    file: 'proxy/round-record.ts',
    find: 'timestamp: ballot,\n      base: isChanged',
    replace: 'base: isChanged',
    faults: DISTURBED,
  },
  {
    name: 're-assert-without-stamping-the-groups',
    file: 'proxy/round-record.ts',
    find: 'groups[name] = { timestamp: ballot, values: state.groups[name]!.values };',
    replace: 'groups[name] = state.groups[name]!;',
    faults: DISTURBED,
  },
  {
    name: 'retry-after-an-accept-as-new',
    file: 'proxy/rounds.ts',
    find: 'const effect = effectOf(own, round.joined, condition !== undefined);',
    replace: "const effect: string = 'none';",
    faults: DISTURBED,
  },
  {
    name: 'refuse-what-may-surface',
    file: 'proxy/round-record.ts',
    find: "return isBelow && effectOf(own, agreed, conditional) === 'none';",
    replace: 'return isBelow || own.sent.length > 0;',
    faults: DISTURBED,
  },
  {
    name: 'acknowledge-already-have',
    file: 'device/entry-change.ts',
    find: 'const stands = ballot === asked && newest <= asked;',
    replace: 'const stands = newest === asked || (ballot === asked && newest <= asked);',
    faults: DISTURBED,
  },
  {
    name: 'accept-across-ring-versions',
    file: 'object/guard.ts',
    find: 'checkRound(device: Device, call: PlacedCall): void {',
    replace: 'checkRound(device: Device, call: PlacedCall): void {\n    if (device) return;',
    faults: MOVES,
  },
  {
    name: 'promises-make-nothing-uncertain',
    file: 'device/entry-change.ts',
    find: 'if (standing !== undefined && standing.ballot > newest && standing.seen !== newest) return false;',
    replace: '',
    faults: DISTURBED,
  },
  {
    name: 'newest-reads-settle-nothing',
    file: 'proxy/read-object.ts',
    find: 'if (!counted.every((answer) => answer.certain && answer.version === version)) return undefined;',
    replace: '',
    faults: DISTURBED,
  },
];

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'skip-the-sync',
    seed: 1,
    file: 'device/log-writer.ts',
    find: "await this.#disk.open(path, 'create', 'synced');",
    replace: "await this.#disk.open(path, 'create');",
    faults: CRASHES,
  },
  {
    name: 'skip-the-directory-sync',
    seed: 1,
    file: 'device/log-writer.ts',
    find: 'await this.#disk.syncDirectory(this.#files.folder);',
    replace: '',
    faults: CRASHES,
  },
  {
    name: 'acknowledge-on-a-minority',
    seed: 3,
    file: 'proxy/quorum.ts',
    find: 'return Math.floor(replicas / 2) + 1;',
    replace: 'return 1;',
    faults: ABSENCES,
  },
  {
    name: 'read-from-one',
    seed: 9,
    file: 'proxy/quorum.ts',
    find: 'return replicas - writeQuorum(replicas) + 1;',
    replace: 'return 1;',
    faults: ABSENCES,
  },
  {
    name: 'an-incomplete-replica-counts',
    file: 'proxy/quorum.ts',
    find: 'return complete && this.sets',
    replace: 'return this.sets',
    faults: ['wipe', 'kill', 'partition-pair'],
  },
  {
    name: 'a-wiped-device-is-complete',
    file: 'main/devices.ts',
    find: "await markGenesis(this.#foundation, device, 'opened');",
    replace:
      'for (const policy of [0, 1, 2, 0xfffe, 0xffff]) await device.completeness.mark(policy, 0, 2 ** 20, true);',
    faults: ['wipe', 'kill', 'partition-pair'],
  },
  {
    name: 'rejoin-from-one-peer-too-few',
    file: 'object/rejoin.ts',
    find: 'const done = [...joined].filter(([partition, count]) => count >= partition.needed);',
    replace: 'const done = [...joined].filter(([, count]) => count >= 0);',
    faults: ['wipe', 'kill', 'partition-pair'],
  },
  {
    name: 'a-handoff-counts-as-a-primary',
    file: 'proxy/write-round.ts',
    find: 'if (stored) this.#stored.push(replica);',
    replace:
      'if (stored) this.#stored.push(replica);\n    if (stored && !primary) for (const lost of this.#lost) { this.#counted.add(lost); break; }',
    faults: ABSENCES,
  },
  {
    name: 'ignore-the-checksum',
    seed: 3,
    file: 'device/body-reader.ts',
    find: 'if (bytes.length !== stop - at || bad !== undefined) {',
    replace: 'if (bytes.length !== stop - at) {',
    faults: ['flip-log', 'flip-blob', 'flip-read'],
  },
  {
    name: 'lose-the-updaters-mark',
    file: 'object/commit.ts',
    find: 'const unlisted = request.listing !== undefined || request.unlisted === true || isNews;',
    replace: 'const unlisted = false;',
    faults: ABSENCES,
  },
  {
    name: 'repair-lists-nothing',
    file: 'object/incoming.ts',
    find: 'if (existing === undefined) return !isDead(state);',
    replace: 'if (existing !== state) return false;',
    faults: ['wipe', 'kill', 'partition-pair'],
  },
  {
    name: 'rows-of-lost-writes-stay',
    file: 'container/listing-auditor.ts',
    find: 'else if (isThere) await this.#reassert(row);',
    replace: 'else if (isThere) return;',
    faults: ['wipe', 'kill', 'partition-pair'],
  },
  {
    name: 'former-replicas-keep-their-slots',
    file: 'container/slot-auditor.ts',
    find: 'return [...others, ...former.map((slot) => this.#takenBack(slot))];',
    replace: 'return others;',
    faults: ['ring-change', 'ring-lag', 'kill', 'partition-pair'],
  },
  {
    name: 'clear-the-mark-unsent',
    file: 'object/relister.ts',
    find: 'const held = new Set<number>();',
    replace:
      'const held = new Set<number>();\n    if (held.size === 0) { device.markListed(entry.key, newestTimestamp(entry.state)); return true; }',
    faults: ABSENCES,
  },
  {
    name: 'acknowledge-without-rows',
    file: 'proxy/write-round.ts',
    find: 'return rows === undefined || rows.quorum.isWrite(this.#listed);',
    replace: 'return true;',
    faults: ABSENCES,
  },
  {
    name: 'list-without-a-pull',
    file: 'rows/service/row-service.ts',
    find: "if (read === 'quorum') {",
    replace: "if (read === 'newest') {",
    faults: ABSENCES,
  },
  {
    name: 'reuse-timestamps-after-a-restart',
    file: 'main/clock-file.ts',
    find: 'return value.bound as number;',
    replace: 'return 0;',
    faults: ['kill', 'crash', 'clock-jump'],
  },
  {
    name: 'drop-a-tombstone-early',
    file: 'repair/reclaim.ts',
    find: 'entry.storedMs < beforeMs && isDead(entry.state)',
    replace: 'isDead(entry.state)',
    faults: ABSENCES,
  },
  {
    name: 'drop-a-tombstone-ignoring-since',
    file: 'device/operations.ts',
    find: 'const { key, path, since } = this.#entry;',
    replace: 'const { key, path } = this.#entry;\n    const since = batch.segment;',
  },
  {
    name: 'drop-a-forget-record-ignoring-since',
    file: 'device/compactor.ts',
    find: 'return this.#parts.files.hasAny(header.since, Math.min(header.segment, until + 1));',
    replace: 'return until < 0;',
  },
  {
    name: 'keep-the-old-log-position-on-equal-state',
    file: 'device/record-replay.ts',
    find: "const moved = change.body === 'kept' && body !== undefined;",
    replace: 'const moved = false;',
  },
  {
    name: 'believe-an-index-of-before',
    file: 'device/open.ts',
    find: 'if (!files.isWholeFrom(position.segment)) {',
    replace: 'if (false) {',
  },
  {
    name: 'drop-an-unlisted-handoff',
    file: 'device/operations.ts',
    find: "(this.#which !== 'listed' || !current.unlisted) &&",
    replace: '',
  },
  {
    name: 'the-older-write-wins',
    seed: 1,
    file: 'base/entry.ts',
    find: 'return a.timestamp > b.timestamp ? a : b;\n  const rank',
    replace: 'return a.timestamp < b.timestamp ? a : b;\n  const rank',
  },
  {
    name: 'metadata-outlives-its-version',
    seed: 9,
    file: 'base/entry.ts',
    find: 'if (group.timestamp < floor) continue;',
    replace: '',
  },
  {
    name: 'believe-a-cut-tail',
    file: 'device/completeness.ts',
    find: 'this.#tailCut = true;',
    replace: 'this.#tailCut = false;',
    faults: ['flip-log', 'misdirected-write', 'kill', 'crash'],
  },
  {
    name: 'confirm-a-tail-by-one-peer-too-few',
    file: 'object/tail.ts',
    find: 'heard.complete.size >= needed ||',
    replace: 'heard.complete.size >= needed - 1 ||',
    faults: ['flip-log', 'misdirected-write', 'kill', 'crash'],
  },
  {
    name: 'splice-two-versions',
    file: 'object/reads.ts',
    find: 'return pin === undefined || (data !== undefined && bodyVersion(data) === pin);',
    replace: 'return pin === undefined || data?.kind === "live";',
    faults: ABSENCES,
  },
  {
    name: 'finish-a-body-without-sync',
    seed: 1,
    file: 'device/stage.ts',
    find: 'await Promise.all([syncOnce(this.#file!), blobs.syncFolder(this.#name!)]);',
    replace: '',
    faults: CRASHES,
  },
  {
    name: 'delete-a-container-without-a-seal',
    file: 'rows/service/row-service.ts',
    find: "if (this.#seals.isSealed(target.device.id, row.hash)) return 'sealed';",
    replace: '',
    faults: ABSENCES,
  },
  {
    name: 'unlink-before-the-checkpoint',
    file: 'device/upkeep.ts',
    find: 'if (complete && (await sink.checkpoint())) await reaper.release(position);',
    replace: 'await reaper.release({ segment: position.segment + 1000, offset: 0 });',
    faults: CRASHES,
  },
  {
    name: 'single-ring-quorum-during-a-move',
    file: 'proxy/placement.ts',
    find: 'this.sets = old === undefined ? [settled] : [old, settled];',
    replace: 'this.sets = old === undefined ? [settled] : [old];',
    faults: MOVES,
  },
  {
    name: 'a-joining-device-counts-alone',
    file: 'proxy/quorum.ts',
    find: 'return this.sets.every((set) => count(set, counted) >= writeQuorum(set.length));',
    replace: 'return this.sets.some((set) => count(set, counted) >= writeQuorum(set.length));',
    faults: MOVES,
  },
  {
    name: 'no-fence',
    file: 'ring/ring-check.ts',
    find: 'if (ringVersion < fence) throw ringOld(policy, ringVersion, fence);\n  if',
    replace: 'if',
    faults: MOVES,
  },
  {
    name: 'no-fence-for-rows',
    file: 'rows/service/context.ts',
    find: '{ policy, ringVersion, ...(hash && { hash }) }',
    replace: '{ policy, ringVersion }',
    faults: MOVES,
  },
  {
    name: 'a-fence-is-forgotten-in-a-crash',
    file: 'device/partition-marks.ts',
    find: "return this.#change(() => this.#record('fence', policy));",
    replace: 'return Promise.resolve();',
    faults: [...MOVES, 'crash', 'blackout'],
  },
  {
    name: 'a-fence-is-forgotten-in-a-wipe',
    file: 'ring/knowledge.ts',
    find: 'await fenceAgain(device, policy, partitions);',
    replace: '',
    faults: [...MOVES, 'wipe'],
  },
  {
    name: 'ranges-are-compared-across-a-fence',
    file: 'ring/ring-check.ts',
    find: 'const fence = versions.fenceIn(policy, from, to);',
    replace: 'const fence = 0 * from * to * versions.fenceIn(policy, from, to);',
    faults: [...MOVES, 'wipe', 'ring-lag'],
  },
  {
    name: 'what-is-learnt-early-counts',
    file: 'ring/early-learning.ts',
    find: 'clock.monotonicMs() < completeness.countsFromMs',
    replace: 'clock.monotonicMs() < 0 * completeness.countsFromMs',
    faults: [...MOVES, 'wipe', 'slow-link'],
  },
  {
    name: 'a-round-counts-for-ever',
    file: 'proxy/write-round.ts',
    find: 'monotonicMs() - this.#startMs >= roundMs',
    replace: 'monotonicMs() - this.#startMs >= 1e9 * roundMs',
    faults: [...MOVES, 'wipe', 'slow-link'],
  },
  {
    name: 'a-ring-that-is-not-known-is-taken',
    file: 'ring/ring-check.ts',
    find: 'ringVersion > own && isChanging(device, ring, hash)',
    replace: 'ringVersion < 0 && isChanging(device, ring, hash)',
    faults: [...MOVES, 'wipe', 'ring-lag'],
  },
  {
    name: 'learn-from-who-has-lost-its-fence',
    file: 'ring/fencing.ts',
    find: 'fence === undefined || fence >= learnsAt',
    replace: 'fence !== -1',
    faults: [...MOVES, 'wipe', 'ring-lag'],
  },
  {
    name: 'learn-from-one-old-member',
    file: 'ring/own-partitions.ts',
    find: 'needed: learns ? majority(teachers.length) :',
    replace: 'needed: learns ? 1 :',
    faults: MOVES,
  },
  {
    name: 'an-earlier-membership-is-believed',
    file: 'ring/knowledge.ts',
    find: 'return learnsAt === undefined || versions.learntOf(policy, from, to) >= learnsAt;',
    replace: 'return true;',
    faults: MOVES,
  },
  {
    name: 'a-former-primary-answers-404',
    file: 'ring/ring-check.ts',
    find: 'if (ringVersion < own && hasMoved(device, ring!, policy, hash)) {',
    replace: 'if (ringVersion < 0 && hasMoved(device, ring!, policy, hash)) {',
    faults: MOVES,
  },
  {
    name: 'reclaim-by-age-alone',
    seed: 26,
    file: 'repair/reclaim.ts',
    find: 'if (sweptMs === undefined) return undefined;',
    replace: 'return oldMs;',
    faults: ['away-days', 'kill', 'partition-pair'],
  },
  {
    name: 'expire-by-a-tombstone-at-delete-at',
    file: 'object/expirer.ts',
    find: "kind: 'expired' as const, expiredSource },",
    replace:
      "kind: 'deleted' as const, timestamp: ((Number(expirySource(state).deleteAt) * 1e6).toString(16).padStart(16, '0') + '0001') as never },",
    faults: ABSENCES,
  },
  {
    name: 'rows-without-log',
    seed: 1,
    file: 'device/operations.ts',
    find: "const { place } = batch.add({\n      kind: 'row',",
    replace:
      "const at = { segment: batch.segment, offset: 64, length: 0 };\n    const { place } = ((_record: object) => ({ place: at }))({\n      kind: 'row',",
    faults: ['crash', 'blackout', 'lose-rows', 'revert-rows'],
  },
  {
    name: 'index-without-policy',
    file: 'device/stored-entry.ts',
    find: "return String.fromCharCode(key.policy) + key.hash.toString('latin1');",
    replace: "return key.hash.toString('latin1');",
  },
  {
    name: 'never-give-up-what-nobody-has',
    file: 'proxy/backed-round.ts',
    find: 'return withoutEmpty(round, answers) ?? round;',
    replace: 'return round;',
    faults: ['wipe', 'flip-log', 'partition-pair', 'one-way', 'kill', 'crash'],
  },
  {
    name: 'revive-without-bytes',
    file: 'base/entry.ts',
    find: 'sameBody(state, wanted) && !isFreed(state)',
    replace: 'sameBody(state, wanted)',
    faults: ['wipe', 'flip-log', 'partition-pair', 'one-way', 'away-days'],
  },
  {
    name: 'hand-over-what-nobody-has-bytes-for',
    file: 'object/primary-copies.ts',
    find: 'entry.state.data === undefined && before.isFreed',
    replace: 'false',
    faults: ['partition-pair', 'one-way', 'kill', 'away-days'],
  },
  {
    name: 'believe-a-log-with-a-hole',
    file: 'main/devices.ts',
    find: 'opened.device.opened.hasHole',
    replace: 'false',
    faults: [],
  },
  {
    name: 'free-without-asking',
    file: 'object/expiry-check.ts',
    find: 'ring.copies >= primaries.length',
    replace: 'ring.copies > 0',
    faults: [],
  },
  {
    name: 'never-free-without-all',
    file: 'object/expiry-check.ts',
    find: 'return needed <= 0;',
    replace: 'return needed < 0;',
    faults: [],
  },
  {
    name: 'audit-run-leaves-listings',
    file: 'object/auditor.ts',
    find: 'this.onRun(chosen);',
    replace: '',
    faults: [],
  },
  {
    name: 'overtaken-by-metadata-is-acknowledged',
    file: 'proxy/object-round.ts',
    find: '...(afterRound && { afterRound }),',
    replace: '',
    faults: [],
  },
  ...ROUNDS.map((mutant) => ({ ...mutant, rounds: true })),
];

/** From now on the file of this mutant is loaded broken. Must come before the product is imported. */
export function breakProduct(name: string): Mutant {
  const mutant = MUTANTS.find((known) => known.name === name);
  if (mutant === undefined) throw new Error(`no mutant ${name}`);
  const [file, broken] = edited(mutant);
  registerHooks({
    load: (url, context, next) => {
      if (!url.startsWith('file:') || fileURLToPath(url) !== file) return next(url, context);
      return { format: 'module-typescript', source: broken, shortCircuit: true };
    },
  });
  return mutant;
}

/** The file's path, and what it becomes. */
function edited({ file, find, replace }: Mutant): [string, string] {
  const full = path.resolve(import.meta.dirname, '../../src', file);
  const source = readFileSync(full, 'utf8');
  if (source.split(find).length !== 2) {
    throw new Error(`a mutant's text is not exactly once in ${file}: ${find}`);
  }
  return [full, source.replace(find, () => replace)];
}
