/**
 * Who belongs to the cluster: machines join with a token and a certificate request, renew their
 * certificates by showing them, and are expelled.
 *
 * A token names site and roles, so that whoever holds it can't choose them. It proves nothing else:
 * the machine's key is made there and never travels.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import { isHost } from '#ring/description.ts';
import type { State } from '#state/state.ts';
import { certificateFacts } from './certificate-facts.ts';
import type { Issuance, Subject } from './certificates.ts';
import { KEYS, type NodeRecord, nodeRecord, type TokenRecord, tokenRecord } from './records.ts';
import type { AuthorityStore, Snapshot } from './store.ts';

/** A month, renewed after two thirds of it. */
export const CERTIFICATE_DAYS = 30;
const SECRET_BYTES = 24;
const ID_BYTES = 6;
const TOKEN_PREFIX = 'anello-join-1';
const MAX_WORKER_ID = 0xffff;
const MAX_DISKS = 1024;
/** Worker ids of a node lie apart: more workers later take no other node's. */
const IDS_PER_NODE = 16;
/** Asking again later is joining anew. */
const REPEAT_MS = 3_600_000;
export const ROLES = ['proxy', 'storage', 'identity', 'authority'] as const;

const name = z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?$/);
const port = z.number().int().min(1).max(65_535);

const disksSchema = z.array(z.object({ name, bytes: z.number().min(0) }).strict()).max(MAX_DISKS);

/** Disks that a member has got since it joined. */
export const moreDisksSchema = z.object({ disks: disksSchema.min(1) }).strict();

export const joinSchema = z
  .object({
    token: z.string().max(256),
    name,
    zone: name.default('z1'),
    wire: z.object({ host: z.string().refine(isHost, 'a host name or an address'), port }).strict(),
    ports: z.partialRecord(z.enum([...ROLES, 'admin']), port).default({}),
    disks: disksSchema.default([]),
    request: z.string().max(16_384),
    /** An earlier machine of this name is gone; its certificate becomes void. */
    replace: z.boolean().default(false),
  })
  .strict();

export type JoinRequest = z.infer<typeof joinSchema>;

/** What a machine needs besides its own file. */
export interface Membership {
  readonly clusterId: string;
  readonly name: string;
  readonly site: string;
  readonly roles: readonly string[];
  readonly workerIds: readonly number[];
  readonly devices: readonly { readonly id: number; readonly name: string }[];
  readonly authorityKey: string;
  readonly caCertificate: string;
  readonly certificate: string;
  readonly authorities: readonly string[];
  readonly state: string;
}

export interface TokenOptions {
  readonly site: string;
  readonly roles: readonly string[];
  readonly hours: number;
  readonly uses: number;
}

export class Members {
  readonly #store: AuthorityStore;
  readonly #state: State;
  readonly #env: Pick<Env, 'clock' | 'random'>;

  constructor(store: AuthorityStore, state: State, env: Pick<Env, 'clock' | 'random'>) {
    this.#store = store;
    this.#state = state;
    this.#env = env;
  }

  /** The text that `anello join --token` takes. Shown once; only its hash is kept. */
  async createToken({ site, roles, hours, uses }: TokenOptions): Promise<string> {
    const { document } = await this.#store.snapshot();
    if (!document.sites.some((known) => known.name === site))
      throw new OperatingError('unknown-site', `there is no site "${site}"`, { site });
    const { random } = this.#env;
    const id = random.bytes(ID_BYTES).toString('hex');
    const secret = random.bytes(SECRET_BYTES).toString('base64url');
    const value = tokenRecord.encode({
      site,
      roles: [...roles],
      expiresMs: this.#nowMs() + hours * 3_600_000,
      uses,
    });
    await this.#state.txn({
      success: [{ kind: 'put', key: KEYS.token(`${id}-${hashOf(secret)}`), value }],
    });
    const authority = await this.#store.certificateAuthority();
    return `${TOKEN_PREFIX}.${id}.${secret}.${certificateFacts(authority.certificate).fingerprint}`;
  }

  /** @throws OperatingError `bad-token`, `name-taken`, `bad-request` */
  async join(request: JoinRequest): Promise<Membership> {
    const reason = { what: `join ${request.name}`, who: request.name };
    const joinedBy = hashOf(`${request.token}\n${request.request}`);
    const { result } = await this.#store.change(reason, async (now) => {
      const known = now.nodes.get(request.name);
      if (known !== undefined && isRepeat(known, joinedBy, this.#nowMs())) {
        const issued = await this.#certify(known, request.request);
        const node = { ...known, serial: issued.serial, certifiedUntilMs: issued.notAfterMs };
        return { nodes: [node], result: { node, certificate: issued.certificate, now } };
      }
      const { key, token, modRevision } = await this.#token(request.token);
      const { node, nextDeviceId, nextWorkerId } = admitted(now, request, token, this.#nowMs());
      const issued = await this.#certify(node, request.request);
      const value = tokenRecord.encode({ ...token, uses: token.uses - 1 });
      const certifiedUntilMs = issued.notAfterMs;
      const certified = { ...node, serial: issued.serial, certifiedUntilMs, joinedBy };
      return {
        nodes: [certified],
        head: { nextDeviceId, nextWorkerId },
        // A token that somebody else has used meanwhile is looked at again.
        compare: [{ key, modRevision }],
        operations: [
          token.uses > 1 ? { kind: 'put' as const, key, value } : { kind: 'delete' as const, key },
        ],
        result: { node: certified, certificate: issued.certificate, now },
      };
    });
    return this.#membership(result.node, result.certificate, result.now);
  }

  /**
   * Ids for further disks of a member; one that it has keeps its own. They hold nothing until a plan
   * puts them into the rings. @throws `not-a-member`, `bad-request`
   */
  async addDisks(
    nodeName: string,
    disks: JoinRequest['disks'],
  ): Promise<Pick<Membership, 'devices'>> {
    const what = `disks of ${nodeName}: ${disks.map((disk) => disk.name).join(', ')}`;
    const { result } = await this.#store.change({ what, who: nodeName }, (now) => {
      const node = member(now, nodeName);
      const added = numbered(now, node, disks);
      const others = node.devices.filter((known) => added.every(({ id }) => id !== known.id));
      const devices = [...others, ...added];
      if (devices.length > MAX_DISKS)
        throw new OperatingError('bad-request', `a node has at most ${MAX_DISKS} disks`);
      const nextDeviceId = Math.max(nextDevice(now), ...added.map(({ id }) => id + 1));
      return { nodes: [{ ...node, devices }], head: { nextDeviceId }, result: devices };
    });
    return { devices: result.map(({ id, name: device }) => ({ id, name: device })) };
  }

  /** A new certificate for a member that has shown its present one. @throws `not-a-member`, `bad-request` */
  async renew(nodeName: string, request: string): Promise<{ readonly certificate: string }> {
    const reason = { what: `renew ${nodeName}`, who: nodeName };
    const { result } = await this.#store.change(reason, async (now) => {
      const node = member(now, nodeName);
      const { certificate, serial, notAfterMs } = await this.#certify(node, request);
      // The one before stays good until it ends: a reply that is lost must not lock the node out.
      return { nodes: [{ ...node, serial, certifiedUntilMs: notAfterMs }], result: certificate };
    });
    return { certificate: result };
  }

  /** Void from the next bundle on: every process cuts the node off when it has it. */
  async expel(nodeName: string, who: string): Promise<number> {
    const { version } = await this.#store.change({ what: `expel ${nodeName}`, who }, (now) => ({
      nodes: [{ ...member(now, nodeName), expelled: true }],
      result: undefined,
    }));
    return version;
  }

  /** Names of expelled nodes and serial numbers of void certificates. */
  async revoked(): Promise<ReadonlySet<string>> {
    const { items } = await this.#state.range({ prefix: KEYS.nodes });
    const nodes = items.map(({ value }) => nodeRecord.decode(value));
    const names = nodes.filter(({ expelled }) => expelled).map((node) => node.name);
    return new Set([...names, ...nodes.flatMap((node) => node.revoked)]);
  }

  /** A certificate for a public HTTPS port: its names, and no role. */
  async certifyServer(request: string, hosts: readonly string[]): Promise<string> {
    const authority = await this.#store.certificateAuthority();
    const { certifyServer } = await import('./certificates.ts');
    return certifyServer(authority, request, hosts, this.#issuance());
  }

  async #certify(node: NodeRecord, request: string) {
    const authority = await this.#store.certificateAuthority();
    const { certifyNode } = await import('./certificates.ts');
    const { clusterId } = await this.#store.knownCluster();
    const { name: nodeName, site, roles, wire } = node;
    const subject: Subject = { clusterId, name: nodeName, site, roles, hosts: [wire.host] };
    const certificate = certifyNode(authority, request, subject, this.#issuance());
    return { certificate, ...certificateFacts(certificate) };
  }

  async #membership(node: NodeRecord, certificate: string, now: Snapshot): Promise<Membership> {
    const cluster = await this.#store.knownCluster();
    const authority = await this.#store.certificateAuthority();
    return {
      clusterId: cluster.clusterId,
      name: node.name,
      site: node.site,
      roles: node.roles,
      workerIds: node.workerIds,
      devices: node.devices.map(({ id, name: device }) => ({ id, name: device })),
      authorityKey: cluster.signingKey,
      caCertificate: authority.certificate,
      certificate,
      authorities: authoritiesOf([...now.nodes.values(), node]),
      state: now.document.state,
    };
  }

  async #token(text: string) {
    const refused = new OperatingError('bad-token', 'the join token is wrong, used up or too old');
    const [prefix, id, secret] = text.split('.');
    if (prefix !== TOKEN_PREFIX || !/^[0-9a-f]{12}$/.test(id ?? '') || !secret) throw refused;
    const { items } = await this.#state.range({ prefix: KEYS.token(`${id}-`) });
    const item = items.find(({ key }) => sameText(key, KEYS.token(`${id}-${hashOf(secret)}`)));
    if (item === undefined) throw refused;
    const token = tokenRecord.decode(item.value);
    if (token.expiresMs < this.#nowMs() || token.uses < 1) throw refused;
    return { key: item.key, token, modRevision: item.modRevision };
  }

  #issuance(): Issuance {
    return { random: this.#env.random, nowMs: this.#nowMs(), days: CERTIFICATE_DAYS };
  }

  #nowMs(): number {
    return this.#env.clock.wallMicros() / 1000;
  }
}

function member(now: Snapshot, nodeName: string): NodeRecord {
  const node = now.nodes.get(nodeName);
  if (node !== undefined && !node.expelled) return node;
  throw new OperatingError('not-a-member', `"${nodeName}" is not a member`, { node: nodeName });
}

/**
 * The machine has not heard the answer (it stopped, or the line did) and asks again by the same token and
 * for the same key: it is the one that joined.
 */
function isRepeat({ expelled, joinedBy: known, joinedMs }: NodeRecord, by: string, nowMs: number) {
  return !expelled && known !== undefined && sameText(known, by) && nowMs - joinedMs < REPEAT_MS;
}

/** The record of a machine that joins; ids of disks and workers are given once and for ever. */
function admitted(now: Snapshot, request: JoinRequest, token: TokenRecord, nowMs: number) {
  const known = now.nodes.get(request.name);
  if (known !== undefined && !request.replace && !known.expelled) {
    const hint = 'if the earlier machine is gone, join with --replace';
    throw new OperatingError('name-taken', `there is a node "${request.name}"; ${hint}`);
  }
  if (known !== undefined && known.site !== token.site)
    throw new OperatingError('name-taken', `"${request.name}" is a node of ${known.site}`);
  const place = { name: request.name, site: token.site, devices: known?.devices ?? [] };
  const devices = numbered(now, place, request.disks);
  const nextDeviceId = Math.max(nextDevice(now), ...devices.map(({ id }) => id + 1));
  const { nextWorkerId } = now.head;
  if (nextWorkerId + IDS_PER_NODE > MAX_WORKER_ID)
    throw new OperatingError('too-many-nodes', 'no worker ids are left');
  const node: NodeRecord = {
    name: request.name,
    site: token.site,
    zone: request.zone,
    roles: token.roles,
    wire: request.wire,
    ports: request.ports,
    // A replaced machine's clock file is gone: it must not issue timestamps under the old ids.
    workerIds: Array.from({ length: IDS_PER_NODE }, (_, n) => nextWorkerId + n),
    devices,
    serial: '',
    certifiedUntilMs: 0,
    revoked: [...(known?.revoked ?? []), ...(known === undefined ? [] : [known.serial])],
    expelled: false,
    joinedMs: nowMs,
  };
  return { node, nextDeviceId, nextWorkerId: nextWorkerId + IDS_PER_NODE };
}

/** Ids that no disk has had yet, in any ring or of any member, begin here. */
function nextDevice({ head, set }: Snapshot): number {
  const builders = [...set.builders.values()];
  return Math.max(head.nextDeviceId, ...builders.map(({ state }) => state.nextDevice));
}

/** What the member or a ring already calls by this name keeps its id. */
function numbered(
  now: Snapshot,
  node: Pick<NodeRecord, 'name' | 'site' | 'devices'>,
  disks: JoinRequest['disks'],
): NodeRecord['devices'] {
  let next = nextDevice(now);
  const inRings = now.set.devices().filter((device) => {
    return device.node === node.name && device.site === node.site;
  });
  return disks.map(({ name: disk, bytes }) => {
    const same = [...node.devices, ...inRings].find((device) => device.name === disk);
    return { id: same?.id ?? next++, name: disk, bytes };
  });
}

/** Addresses of the processes with the authority's role. */
export function authoritiesOf(nodes: readonly NodeRecord[]): string[] {
  const urls = nodes.flatMap(({ expelled, roles, wire, ports }) =>
    !expelled && roles.includes('authority') && ports['authority'] !== undefined
      ? [`https://${wire.host.includes(':') ? `[${wire.host}]` : wire.host}:${ports['authority']}`]
      : [],
  );
  return [...new Set(urls)];
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

export function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
