/**
 * From a machine's own file to a node's: the first start joins the cluster with the token and keeps
 * what the authority answered; later ones read that. Nothing else has to be carried by hand.
 *
 *   DATA/membership.json   who this node is (0600: it may hold the cluster's master key)
 *   DATA/node.pem          its key and certificate, renewed by itself
 *   DATA/ca.pem            the cluster's authority
 *   DATA/joining.key       its key while it has asked and not heard the answer
 *
 * A token carries the fingerprint of that authority's certificate, so that the first contact already
 * knows whom to trust.
 */
import path from 'node:path';
import { z } from 'zod';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import {
  diskName,
  isMachineFile,
  type MachineFile,
  parseMachineFile,
} from '#config/machine-file.ts';
import {
  checkNodeConfig,
  type NodeConfig,
  parseNodeConfig,
  serviceFields,
} from '#config/node-config.ts';
import type { Disk, TlsOptions } from '#env/env.ts';
import { certificateFacts } from './certificate-facts.ts';

const SECRET_MODE = 0o600;

const devicesSchema = z.object({
  devices: z.array(z.object({ id: z.number(), name: z.string() })),
});

const membershipSchema = devicesSchema.extend({
  clusterId: z.string(),
  name: z.string(),
  site: z.string(),
  roles: z.array(z.string()),
  workerIds: z.array(z.number()),
  authorityKey: z.string(),
  caCertificate: z.string(),
  certificate: z.string(),
  authorities: z.array(z.string()),
  state: z.string(),
  secrets: z.record(z.string(), z.string()).default({}),
});

export type Membership = z.infer<typeof membershipSchema>;

/** What joining needs of the world; the HTTPS edge provides it (env/node/https-client.ts). */
export interface JoinEffects {
  readonly disk: Disk;
  /** From whoever answers there. */
  readonly get: (url: string) => Promise<Buffer>;
  /** To an authority with a certificate by `ca`. */
  readonly post: (url: string, body: string, ca: string) => Promise<JoinReply>;
}

/** The same as a member: it shows its certificate. */
export interface MemberEffects {
  readonly disk: Disk;
  readonly postAs: (url: string, body: string, own: TlsOptions) => Promise<JoinReply>;
}

export interface JoinReply {
  readonly status: number;
  readonly body: Buffer;
}

/** Reads a node's file, of either form. @throws OperatingError `bad-config`, and what joining fails with */
export async function loadNodeConfig(file: string, effects: JoinEffects): Promise<NodeConfig> {
  const { disk } = effects;
  const text = (await disk.read(file)).toString();
  if (!isMachineFile(text)) return parseNodeConfig(text);
  const machine = parseMachineFile(text);
  if (!(await hasJoined(machine, disk))) await join(machine, effects);
  const known = JSON.parse((await disk.read(membershipFile(machine))).toString()) as unknown;
  return nodeConfigOf(machine, membershipSchema.parse(known));
}

export async function hasJoined(machine: MachineFile, disk: Disk): Promise<boolean> {
  return (await disk.stat(membershipFile(machine))) !== undefined;
}

function membershipFile({ data }: MachineFile): string {
  return path.join(data, 'membership.json');
}

/** @throws OperatingError `no-token`, `join-refused`, `no-authority` */
export async function join(
  machine: MachineFile,
  effects: JoinEffects,
  { replace = false } = {},
): Promise<Membership> {
  const { token, authorities } = machine;
  if (token === undefined)
    throw new OperatingError('no-token', 'a token is needed to join: anello node token');
  const { disk } = effects;
  const key = await joiningKey(machine, disk);
  const body = { ...(await joinRequest(machine, disk, key)), token, replace };
  const known = await firstAnswer(authorities, (url) => ask(url, token, body, effects));
  await keepMembership(machine, disk, key, known);
  await disk.unlink(joiningFile(machine));
  return known;
}

/** Kept until it has joined: asked again for the same key, the authority knows the machine again. */
async function joiningKey(machine: MachineFile, disk: Disk): Promise<string> {
  const file = joiningFile(machine);
  if ((await disk.stat(file)) !== undefined) return (await disk.read(file)).toString();
  const { newPrivateKey } = await import('./certificates.ts');
  const key = newPrivateKey();
  await disk.mkdir(machine.data);
  await disk.replace(file, Buffer.from(key), SECRET_MODE);
  return key;
}

function joiningFile({ data }: MachineFile): string {
  return path.join(data, 'joining.key');
}

/**
 * Tells the authority of further disks of this machine, and keeps the ids that it gives them. Doing it
 * twice gives the same ids. @throws OperatingError `not-joined`, `refused`, `no-authority`
 */
export async function addDisks(
  machine: MachineFile,
  folders: readonly string[],
  { disk, postAs }: MemberEffects,
): Promise<Membership['devices']> {
  if (!(await hasJoined(machine, disk)))
    throw new OperatingError('not-joined', `${machine.name} is no node yet: anello join`);
  const file = membershipFile(machine);
  const known = membershipSchema.parse(JSON.parse((await disk.read(file)).toString()));
  const pair = (await disk.read(path.join(machine.data, 'node.pem'))).toString();
  const own = { key: pair, certificate: pair, authority: known.caCertificate };
  const body = JSON.stringify({ disks: await sizedDisks(folders, disk) });
  const urls = [...new Set([...machine.authorities, ...known.authorities])];
  const { devices } = await firstAnswer(urls, async (url) => {
    const reply = await postAs(`${url}/v1/disks`, body, own);
    const value = JSON.parse(reply.body.toString()) as { message?: string };
    if (reply.status === 200) return devicesSchema.parse(value);
    throw new OperatingError('join-refused', `the authority refuses: ${value.message}`, { url });
  });
  const text = `${JSON.stringify({ ...known, devices }, null, 2)}\n`;
  await disk.replace(file, Buffer.from(text), SECRET_MODE);
  return devices;
}

/** What a machine tells of itself; its token comes beside it. */
export async function joinRequest(machine: MachineFile, disk: Disk, key: string) {
  const { createRequest } = await import('./certificates.ts');
  const { name, zone, address, disks } = machine;
  const { wire, admin, proxy, authority, identity } = machine.listen;
  return {
    name,
    zone,
    wire: { host: address, port: wire },
    ports: { admin, proxy, authority, identity },
    disks: await sizedDisks(disks, disk),
    request: createRequest(key, name),
  };
}

/** What the authority answers, as far as it matters here; all of it is kept. */
interface Answered {
  readonly certificate: string;
  readonly caCertificate: string;
  readonly secrets?: Readonly<Record<string, string>>;
}

export async function keepMembership(
  { data }: MachineFile,
  disk: Disk,
  key: string,
  { secrets = {}, ...known }: Answered,
): Promise<void> {
  await disk.mkdir(data);
  const write = (file: string, content: string): Promise<void> =>
    disk.replace(path.join(data, file), Buffer.from(content), SECRET_MODE);
  await write('node.pem', key + known.certificate);
  await write('ca.pem', known.caCertificate);
  const { masterKey } = secrets;
  if (masterKey !== undefined) await write('master.key', `anello-master-key-1 ${masterKey}\n`);
  // Last: with it the node has joined.
  await write('membership.json', `${JSON.stringify(known, null, 2)}\n`);
}

/** Of TLS, where a certificate and a clock do not agree. */
const TIME_ERRORS = new Set(['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED']);

/** Any authority will do; a refusal is final. */
async function firstAnswer<T>(urls: readonly string[], call: (url: string) => Promise<T>) {
  const failures: string[] = [];
  for (const url of urls) {
    try {
      return await call(url);
    } catch (error) {
      if (codeOf(error) === 'join-refused') throw error;
      const isOfTime = TIME_ERRORS.has(codeOf(error));
      const hint = isOfTime ? " (or this machine's clock is wrong: compare `date -u`)" : '';
      failures.push(`${url}: ${messageOf(error)}${hint}`);
    }
  }
  throw new OperatingError('no-authority', `no authority answers: ${failures.join('; ')}`);
}

async function ask(
  url: string,
  token: string,
  body: unknown,
  { get, post }: JoinEffects,
): Promise<Membership> {
  // Fetched from whoever answers, then compared with what the token says.
  const authority = (await get(`${url}/v1/ca`)).toString();
  if (certificateFacts(authority).fingerprint !== token.split('.').at(-1))
    throw new OperatingError('join-refused', `${url} is not the authority that made this token`);
  const reply = await post(`${url}/v1/join`, JSON.stringify(body), authority);
  const value = JSON.parse(reply.body.toString()) as { code?: string; message?: string };
  if (reply.status !== 201) {
    const why = `${value.code}: ${value.message}`;
    throw new OperatingError('join-refused', `the authority refuses: ${why}`, { url });
  }
  const membership = membershipSchema.parse(value);
  if (membership.caCertificate === authority) return membership;
  throw new OperatingError('join-refused', 'the authority answers for another one', { url });
}

function sizedDisks(folders: readonly string[], disk: Disk) {
  const sized = folders.map(async (folder) => ({
    name: diskName(folder),
    bytes: await sizeOf(folder, disk),
  }));
  return Promise.all(sized);
}

async function sizeOf(folder: string, disk: Disk): Promise<number> {
  try {
    return (await disk.space(folder)).totalBytes;
  } catch (cause) {
    throw new OperatingError('bad-config', `disks: ${folder}: ${codeOf(cause)}`, {}, { cause });
  }
}

function nodeConfigOf(machine: MachineFile, known: Membership): NodeConfig {
  const { data, disks, listen, address } = machine;
  const at = (file: string): string => path.join(data, file);
  const ids = new Map(known.devices.map(({ id, name }) => [name, id]));
  const { host = address, ...ports } = listen;
  return checkNodeConfig({
    format: 1,
    name: known.name,
    site: known.site,
    roles: known.roles,
    data,
    clusterId: known.clusterId,
    wireTls: {
      keyFile: at('node.pem'),
      certificateFile: at('node.pem'),
      authorityFile: at('ca.pem'),
    },
    workerIds: known.workerIds,
    listen: { host, ...ports },
    authorities: [...new Set([...machine.authorities, ...known.authorities])],
    state: stateOf(known, machine),
    masterKeyFile: at('master.key'),
    authorityKey: known.authorityKey,
    devices: disks.map((folder) => deviceOf(folder, ids, machine.mountPoints)),
    ...serviceOf(machine),
    proxyWorkers: machine.proxyWorkers,
    logLevel: machine.logLevel,
  });
}

/** What both files say in the same words. */
function serviceOf(machine: MachineFile) {
  const names = Object.keys(serviceFields) as (keyof typeof serviceFields)[];
  return Object.fromEntries(names.map((name) => [name, machine[name]]));
}

function deviceOf(folder: string, ids: ReadonlyMap<string, number>, mountPoint: boolean) {
  const name = diskName(folder);
  const id = ids.get(name);
  if (id === undefined) {
    const hint = 'tell the authority of it first: anello node add-disk';
    throw new OperatingError(
      'bad-config',
      `${folder} was not there when this node joined; ${hint}`,
    );
  }
  return { id, name, path: folder, mountPoint };
}

/** `etcd:http://a:2379,http://b:2379` or `sqlite:FILE`; a storage node needs none. */
function stateOf({ state, roles }: Membership, { data, etcd: tls }: MachineFile) {
  if (state.startsWith('etcd:'))
    return { driver: 'etcd', endpoints: state.slice(5).split(','), ...(tls && { tls }) };
  if (state.startsWith('sqlite:')) return { driver: 'sqlite', path: state.slice(7) };
  if (roles.every((role) => role === 'storage'))
    return { driver: 'sqlite', path: path.join(data, 'no-state.db') };
  throw new OperatingError('bad-config', 'the cluster document names no state store');
}
