/**
 * From a machine's own file to a node's: the first start joins the cluster with the token and keeps
 * what the authority answered; later ones read that. Nothing else has to be carried by hand.
 *
 *   DATA/membership.json   who this node is (0600: it may hold the cluster's master key)
 *   DATA/node.pem          its key and certificate, renewed by itself
 *   DATA/ca.pem            the cluster's authority
 *
 * A token carries the fingerprint of that authority's certificate, so that the first contact already
 * knows whom to trust.
 */
import { existsSync, mkdirSync, readFileSync, statfsSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { certificateFacts } from '#authority/certificate-facts.ts';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import {
  diskName,
  isMachineFile,
  type MachineFile,
  parseMachineFile,
} from '#config/machine-file.ts';
import { checkNodeConfig, type NodeConfig, parseNodeConfig } from '#config/node-config.ts';
import type { Disk } from '#env/env.ts';
import { httpsRequest, unverifiedGet } from '#env/node/https-client.ts';

const TIMEOUT_MS = 10_000;
const MAX_REPLY_BYTES = 1024 * 1024;
const SECRET_MODE = 0o600;

const membershipSchema = z.object({
  clusterId: z.string(),
  name: z.string(),
  site: z.string(),
  roles: z.array(z.string()),
  workerIds: z.array(z.number()),
  devices: z.array(z.object({ id: z.number(), name: z.string() })),
  authorityKey: z.string(),
  caCertificate: z.string(),
  certificate: z.string(),
  authorities: z.array(z.string()),
  state: z.string(),
  secrets: z.record(z.string(), z.string()).default({}),
});

type Membership = z.infer<typeof membershipSchema>;

/** Reads a node's file, of either form. @throws OperatingError `bad-config`, and what joining fails with */
export async function loadNodeConfig(file: string, disk: Disk): Promise<NodeConfig> {
  const text = readFileSync(file, 'utf8');
  if (!isMachineFile(text)) return parseNodeConfig(text);
  const machine = parseMachineFile(text);
  if (!existsSync(membershipFile(machine))) await join(machine, disk, false);
  const known = JSON.parse(readFileSync(membershipFile(machine), 'utf8')) as unknown;
  return nodeConfigOf(machine, membershipSchema.parse(known));
}

function membershipFile({ data }: MachineFile): string {
  return path.join(data, 'membership.json');
}

/** @throws OperatingError `no-token`, `join-refused`, `no-authority` */
export async function join(machine: MachineFile, disk: Disk, replace: boolean): Promise<void> {
  const { token, name, zone, address, disks, data, authorities } = machine;
  if (token === undefined)
    throw new OperatingError('no-token', 'a token is needed to join: anello node token');
  const { createRequest, newPrivateKey } = await import('#authority/certificates.ts');
  const key = newPrivateKey();
  const { host: _host, adminHost: _adminHost, wire, ...ports } = machine.listen;
  const body = {
    token,
    name,
    zone,
    wire: { host: address, port: wire },
    ports,
    disks: disks.map((folder) => ({ name: diskName(folder), bytes: sizeOf(folder) })),
    request: createRequest(key, name),
    replace,
  };
  const known = await firstAnswer(authorities, (url) => ask(url, token, body));
  mkdirSync(data, { recursive: true });
  const write = (file: string, content: string): Promise<void> =>
    disk.replace(path.join(data, file), Buffer.from(content), SECRET_MODE);
  await write('node.pem', key + known.certificate);
  await write('ca.pem', known.caCertificate);
  const { masterKey } = known.secrets;
  if (masterKey !== undefined) await write('master.key', `anello-master-key-1 ${masterKey}\n`);
  // Last: with it the node has joined.
  await write('membership.json', `${JSON.stringify({ ...known, secrets: {} }, null, 2)}\n`);
}

/** Any authority will do; a refusal is final. */
async function firstAnswer<T>(urls: readonly string[], call: (url: string) => Promise<T>) {
  const failures: string[] = [];
  for (const url of urls) {
    try {
      return await call(url);
    } catch (error) {
      if (codeOf(error) === 'join-refused') throw error;
      failures.push(`${url}: ${messageOf(error)}`);
    }
  }
  throw new OperatingError('no-authority', `no authority answers: ${failures.join('; ')}`);
}

async function ask(url: string, token: string, body: unknown): Promise<Membership> {
  const authority = await trustedAuthority(url, token);
  const options = {
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_REPLY_BYTES,
    tls: { key: '', certificate: '', authority },
    role: 'authority',
  };
  const text = JSON.stringify(body);
  const reply = await httpsRequest(`${url}/v1/join`, { ...options, method: 'POST', body: text });
  const value = JSON.parse(reply.body.toString()) as { code?: string; message?: string };
  if (reply.status !== 201) {
    const why = `${value.code}: ${value.message}`;
    throw new OperatingError('join-refused', `the authority refuses: ${why}`, { url });
  }
  const membership = membershipSchema.parse(value);
  if (membership.caCertificate === authority) return membership;
  throw new OperatingError('join-refused', 'the authority answers for another one', { url });
}

/** Fetched from whoever answers, then compared with what the token says. */
async function trustedAuthority(url: string, token: string): Promise<string> {
  const pem = (await unverifiedGet(`${url}/v1/ca`, TIMEOUT_MS, MAX_REPLY_BYTES)).toString();
  const expected = token.split('.').at(-1);
  if (certificateFacts(pem).fingerprint === expected) return pem;
  throw new OperatingError('join-refused', `${url} is not the authority that made this token`);
}

function sizeOf(folder: string): number {
  try {
    const { bsize, blocks } = statfsSync(folder);
    return bsize * blocks;
  } catch (cause) {
    throw new OperatingError('bad-config', `disks: ${folder}: ${codeOf(cause)}`, {}, { cause });
  }
}

function nodeConfigOf(machine: MachineFile, known: Membership): NodeConfig {
  const { data, disks, listen, address, tls } = machine;
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
    state: stateOf(known, data),
    masterKeyFile: at('master.key'),
    authorityKey: known.authorityKey,
    devices: disks.map((folder) => deviceOf(folder, ids, machine.mountPoints)),
    ...(tls !== undefined && { tls }),
    proxyWorkers: machine.proxyWorkers,
    logLevel: machine.logLevel,
  });
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
function stateOf({ state, roles }: Membership, data: string) {
  if (state.startsWith('etcd:')) return { driver: 'etcd', endpoints: state.slice(5).split(',') };
  if (state.startsWith('sqlite:')) return { driver: 'sqlite', path: state.slice(7) };
  if (roles.every((role) => role === 'storage'))
    return { driver: 'sqlite', path: path.join(data, 'no-state.db') };
  throw new OperatingError('bad-config', 'the cluster document names no state store');
}
