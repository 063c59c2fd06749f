/**
 * The authority's state: read as one snapshot, changed by one transaction that also publishes the
 * bundle which follows from it.
 *
 * Invariants: a version is published once and never rewritten; whatever the bundle shows (rings,
 * document, members) changes only together with `authority/head`, compared with its revision as read.
 * So an authority that dies at any step has either published the whole change or nothing of it.
 */
import { createPrivateKey, generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import { RingBuilder } from '#ring/builder/builder.ts';
import { RingSet } from '#ring/builder/ring-set.ts';
import type { Compare, Operation, Revision, State } from '#state/state.ts';
import { encodeBundle, type Sign } from './bundle.ts';
import { bundleDocument } from './bundle-document.ts';
import type { KeyPair } from './certificates.ts';
import type { Document } from './document.ts';
import { dropPiecesBelow, readPieces, uploadName, writePieces } from './pieces.ts';
import { dropOldBundles, published, stageBundle } from './publisher.ts';
import {
  type ClusterRecord,
  caRecord,
  clusterRecord,
  documentRecord,
  type HeadRecord,
  type HistoryRecord,
  headRecord,
  historyRecord,
  KEYS,
  type NodeRecord,
  nodeRecord,
} from './records.ts';

/** Secrets at rest; identity's vault is one. */
export interface Sealer {
  seal(plain: Uint8Array, purpose: string): Buffer;
  open(sealed: Uint8Array, purpose: string): Buffer;
}

export interface StoreOptions {
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly state: State;
  readonly sealer: Sealer;
}

export interface Snapshot {
  readonly head: HeadRecord;
  readonly document: Document;
  readonly nodes: ReadonlyMap<string, NodeRecord>;
  /** A private copy: change it and hand it to `commit`. */
  readonly set: RingSet;
  readonly revision: Revision;
}

/** What a transaction changes; what is left out stays. */
export interface Changes {
  readonly head?: Partial<HeadRecord>;
  readonly document?: Document;
  readonly nodes?: readonly NodeRecord[];
  readonly set?: RingSet;
  /** Further operations of the same transaction, with what they rely on. */
  readonly compare?: readonly Compare[];
  readonly operations?: readonly Operation[];
}

export interface Reason {
  readonly what: string;
  readonly who: string;
}

const BUILDERS = 'authority/builders/';
const KEPT_VERSIONS = 4;
const MAX_ATTEMPTS = 8;
const MAX_HISTORY = 1000;

export class AuthorityStore {
  readonly #options: StoreOptions;
  #cluster: ClusterRecord | undefined;
  /** Builder files as last read, by upload: decoding large rings takes time. */
  readonly #builders = new Map<string, Buffer>();

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  /** Undefined: this state store holds no authority yet. */
  async cluster(): Promise<ClusterRecord | undefined> {
    if (this.#cluster !== undefined) return this.#cluster;
    const item = await this.#options.state.get(KEYS.cluster);
    if (item !== undefined) this.#cluster = clusterRecord.decode(item.value);
    return this.#cluster;
  }

  /** @throws OperatingError `no-authority` */
  async knownCluster(): Promise<ClusterRecord> {
    const cluster = await this.cluster();
    if (cluster !== undefined) return cluster;
    throw new OperatingError('no-authority', 'this cluster was not initialised yet');
  }

  /** Made when it is first asked for: a cluster on one machine needs none, and making it takes a second. */
  async certificateAuthority(): Promise<KeyPair> {
    const { state, sealer } = this.#options;
    const { clusterId } = await this.knownCluster();
    const known = await state.get(KEYS.ca);
    if (known === undefined) {
      const value = caRecord.encode(await this.#newCertificateAuthority(clusterId));
      const compare = [{ key: KEYS.ca, exists: false }];
      await state.txn({ compare, success: [put(KEYS.ca, value)] });
      return this.certificateAuthority();
    }
    const { certificate, secret } = caRecord.decode(known.value);
    return { certificate, key: sealer.open(secret, KEYS.ca).toString() };
  }

  async #newCertificateAuthority(clusterId: string): Promise<ReturnType<typeof caRecord.decode>> {
    const { env, sealer } = this.#options;
    const { createCertificateAuthority } = await import('./certificates.ts');
    const nowMs = env.clock.wallMicros() / 1000;
    const made = createCertificateAuthority(clusterId, { random: env.random, nowMs });
    return { certificate: made.certificate, secret: sealer.seal(Buffer.from(made.key), KEYS.ca) };
  }

  async signer(): Promise<Sign> {
    const { signingSecret } = await this.knownCluster();
    const secret = this.#options.sealer.open(signingSecret, KEYS.cluster);
    const key = createPrivateKey(secret.toString());
    return (bytes) => signBytes(null, bytes, key);
  }

  /** Keys, document and rings of a new cluster, and its first bundle. Twice: `already-initialised`. */
  async initialise(genesis: Genesis): Promise<ClusterRecord> {
    const { state } = this.#options;
    const record = this.#newCluster(genesis);
    const head: HeadRecord = {
      version: 0,
      builders: {},
      nextWorkerId: 1,
      nextDeviceId: 0,
      paused: false,
      ...genesis.head,
    };
    const { succeeded } = await state.txn({
      compare: [{ key: KEYS.cluster, exists: false }],
      success: [
        { kind: 'put', key: KEYS.cluster, value: clusterRecord.encode(record) },
        { kind: 'put', key: KEYS.head, value: headRecord.encode(head) },
        { kind: 'put', key: KEYS.document, value: documentRecord.encode(genesis.document) },
      ],
    });
    if (!succeeded)
      throw new OperatingError('already-initialised', 'this state store has an authority already');
    this.#cluster = record;
    return record;
  }

  /** What is in force, without reading the rings. */
  async head(): Promise<HeadRecord> {
    const item = await this.#options.state.get(KEYS.head);
    if (item !== undefined) return headRecord.decode(item.value);
    throw new OperatingError('no-authority', 'this cluster was not initialised yet');
  }

  async snapshot(): Promise<Snapshot> {
    const { state } = this.#options;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      // One transaction, hence one moment; the builders it names are never rewritten.
      const { results } = await state.txn({
        success: [KEYS.head, KEYS.document, KEYS.nodes].map((prefix) => ({
          kind: 'range' as const,
          range: { prefix },
        })),
      });
      const [heads, documents, nodes] = results.map((r) => (r.kind === 'range' ? r.items : []));
      const head = heads?.[0];
      const document = documents?.[0];
      if (head === undefined || document === undefined) break;
      const record = headRecord.decode(head.value);
      const set = await this.#readSet(record).catch(() => undefined);
      if (set === undefined) continue;
      const members = nodes!.map(({ value }) => nodeRecord.decode(value));
      return {
        head: record,
        document: documentRecord.decode(document.value),
        nodes: new Map(members.map((node) => [node.name, node])),
        set,
        revision: head.modRevision,
      };
    }
    throw new OperatingError('no-authority', 'this cluster was not initialised yet');
  }

  /**
   * Reads, lets `change` decide, and publishes. Repeats when another authority was faster; `change` is
   * then asked again about what is in force now.
   */
  async change<Result>(
    reason: Reason,
    change: (
      now: Snapshot,
    ) => Promise<Changes & { result: Result }> | (Changes & { result: Result }),
  ): Promise<{ readonly version: number; readonly result: Result }> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const now = await this.snapshot();
      const { result, ...changes } = await change(now);
      const version = await this.#commit(now, changes, reason);
      if (version !== undefined) return { version, result };
    }
    throw new OperatingError('state-busy', 'others change the cluster all the time: try again');
  }

  async history(limit: number): Promise<HistoryRecord[]> {
    const options = { reverse: true, limit: Math.min(limit, MAX_HISTORY) };
    const { items } = await this.#options.state.range({ prefix: KEYS.history }, options);
    return items.map(({ value }) => historyRecord.decode(value));
  }

  /** The new version; undefined: another was faster. */
  async #commit(now: Snapshot, changes: Changes, reason: Reason): Promise<number | undefined> {
    const { state, env } = this.#options;
    const nodes = new Map(now.nodes);
    for (const node of changes.nodes ?? []) nodes.set(node.name, node);
    const document = changes.document ?? now.document;
    const before = await published(state);
    const version = before.version + 1;
    const builders =
      changes.set === undefined ? {} : { builders: await this.#writeSet(version, changes.set) };
    const head: HeadRecord = { ...now.head, ...changes.head, ...builders, version };
    const cluster = await this.knownCluster();
    const bytes = encodeBundle(
      {
        clusterId: cluster.clusterId,
        version,
        document: bundleDocument(cluster, document, nodes),
        rings: [...(changes.set ?? now.set).rings().values()],
      },
      await this.signer(),
    );
    const bundle = await stageBundle(state, env.random, before, bytes);
    const history = { version, atMs: env.clock.wallMicros() / 1000, ...reason };
    const { succeeded } = await state.txn({
      compare: [
        { key: KEYS.head, modRevision: now.revision },
        bundle.compare,
        ...(changes.compare ?? []),
      ],
      success: [
        { kind: 'put', key: KEYS.head, value: headRecord.encode(head) },
        bundle.success,
        { kind: 'put', key: KEYS.historyOf(version), value: historyRecord.encode(history) },
        ...(changes.document === undefined
          ? []
          : [put(KEYS.document, documentRecord.encode(document))]),
        ...(changes.nodes ?? []).map((node) => put(KEYS.node(node.name), nodeRecord.encode(node))),
        ...(changes.operations ?? []),
      ],
    });
    if (!succeeded) return undefined;
    env.log.info('authority.published', { version, ...reason });
    await this.#dropOld(version, head);
    return version;
  }

  async #dropOld(version: number, head: HeadRecord): Promise<void> {
    const { state, env } = this.#options;
    const named = Object.values(head.builders).map(({ upload }) => Number(upload.split('-')[0]));
    const oldest = Math.min(version - KEPT_VERSIONS, ...named);
    try {
      await dropOldBundles(state, version);
      if (oldest > 0) await dropPiecesBelow(state, BUILDERS, oldest);
      const last = KEYS.historyOf(Math.max(0, version - MAX_HISTORY));
      const range = { start: KEYS.history, end: last };
      await state.txn({ success: [{ kind: 'deleteRange', range }] });
    } catch (error) {
      // The next version tries again; what is left over is only room.
      env.log.warn('authority.cleanup-failed', { reason: String(error) });
    }
  }

  async #writeSet(version: number, set: RingSet): Promise<HeadRecord['builders']> {
    const { state, env } = this.#options;
    const upload = uploadName(version, env.random);
    const places: HeadRecord['builders'] = {};
    for (const [name, builder] of set.builders) {
      const pieces = await writePieces(state, pathOf(upload, name), builder.encode());
      places[name] = { upload, pieces };
    }
    return places;
  }

  async #readSet(head: HeadRecord): Promise<RingSet> {
    const builders: [string, RingBuilder][] = [];
    for (const [name, { upload, pieces }] of Object.entries(head.builders)) {
      const key = pathOf(upload, name);
      const bytes = this.#builders.get(key) ?? (await readPieces(this.#options.state, key, pieces));
      this.#builders.set(key, bytes);
      builders.push([name, RingBuilder.decode(bytes)]);
    }
    const used = new Set(Object.entries(head.builders).map(([n, p]) => pathOf(p.upload, n)));
    for (const key of this.#builders.keys()) if (!used.has(key)) this.#builders.delete(key);
    return new RingSet(builders);
  }

  #newCluster(genesis: Genesis): ClusterRecord {
    const { key, secret } = genesis.signing ?? newSigningKey();
    return {
      clusterId: genesis.clusterId,
      hashPrefix: genesis.hashPrefix,
      hashSuffix: genesis.hashSuffix,
      signingKey: key,
      signingSecret: this.#options.sealer.seal(Buffer.from(secret), KEYS.cluster),
      operatorHash: genesis.operatorHash,
    };
  }
}

function newSigningKey(): { readonly key: string; readonly secret: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return { key: publicKey, secret: privateKey };
}

export interface Genesis {
  readonly clusterId: string;
  readonly hashPrefix: string;
  readonly hashSuffix: string;
  readonly operatorHash: string;
  readonly document: Document;
  /** Of an earlier cluster: public key and private key, PEM. Otherwise they are made. */
  readonly signing?: { readonly key: string; readonly secret: string };
  readonly head?: Partial<HeadRecord>;
}

function put(key: string, value: Buffer): Operation {
  return { kind: 'put', key, value };
}

function pathOf(upload: string, ring: string): string {
  return `${BUILDERS}${upload}/${ring.replace('/', '-')}`;
}
