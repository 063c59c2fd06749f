/**
 * A cluster described in YAML (`rings/*.yaml`): policies, how rings are built, and the devices of
 * every site and node. One description yields every ring: `object/<policy>` for each policy,
 * `container` and `account`.
 *
 * The file is a person's, so every mistake is answered with the path of the wrong field.
 */
import { isIPv6 } from 'node:net';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { MAX_POLICY_INDEX } from '#base/names.ts';
import { CONSISTENCY_MODES, type NodeInfo, type StoragePolicy } from './cluster.ts';
import { MAX_COLUMNS, MAX_DEVICES, MAX_PART_POWER } from './fields.ts';

export interface DeviceDescription {
  readonly site: string;
  readonly zone: string;
  readonly node: string;
  readonly name: string;
  readonly weight: number;
  readonly meta: Readonly<Record<string, string>>;
}

export interface NodeDescription extends NodeInfo {
  readonly devices: readonly DeviceDescription[];
}

export interface ClusterDescription {
  readonly name: string;
  readonly partPower: number;
  readonly overload: number;
  readonly minPartHours: number;
  readonly policies: readonly StoragePolicy[];
  /** Replicas of the two row rings. */
  readonly rowReplicas: { readonly container: number; readonly account: number };
  /** In order of the file. */
  readonly nodes: readonly NodeDescription[];
}

const MAX_TEXT_BYTES = 16 * 2 ** 20;
const name = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/,
    'lower-case letters, digits, dots, dashes, at most 64',
  );
const replicas = z.number().min(1).max(MAX_COLUMNS);
const weight = z.number().min(0).max(1e12);
const meta = z.record(z.string().min(1).max(64), z.string().max(255)).default({});

const policy = z
  .object({
    name,
    index: z.number().int().min(0).max(MAX_POLICY_INDEX),
    replicas: z.number().int().min(1).max(MAX_COLUMNS),
    states: z.number().int().min(3).max(MAX_COLUMNS).optional(),
    default: z.boolean().default(false),
    mode: z.enum(CONSISTENCY_MODES).default('strict'),
  })
  .strict()
  .superRefine(({ replicas: copies, states }, context) => {
    if (states === undefined) return;
    const issue = (message: string) =>
      context.addIssue({ code: 'custom', path: ['states'], message });
    if (states % 2 === 0) issue('must be odd, so that two majorities always share a replica');
    if (states < copies) issue('must not be below replicas: every copy has its state');
  });

const wire = z.string().transform((text, context) => {
  const address = parseAddress(text);
  if (address !== undefined) return address;
  context.addIssue({ code: 'custom', message: `"${text}" is not host:port` });
  return z.NEVER;
});

const node = z
  .object({
    node: name,
    zone: name.default('z1'),
    wire,
    devices: z.array(z.object({ name, weight, meta }).strict()).min(1),
  })
  .strict();

const rowRing = z
  .object({ replicas: replicas.default(3) })
  .strict()
  .default({ replicas: 3 });

const schema = z
  .object({
    format: z.literal(1),
    name,
    part_power: z.number().int().min(0).max(MAX_PART_POWER),
    overload: z.number().min(0).max(100).default(0.1),
    min_part_hours: z.number().int().min(0).max(10_000).default(1),
    policies: z.array(policy).min(1).max(64),
    container: rowRing,
    account: rowRing,
    sites: z.record(name, z.array(node).min(1)),
  })
  .strict()
  .superRefine((description, context) => {
    for (const { path, message } of contradictions(description)) {
      context.addIssue({ code: 'custom', path, message });
    }
  });

type Parsed = z.output<typeof schema>;
type Complaint = { path: (string | number)[]; message: string };

/** What no field can see alone. */
function contradictions({ policies, sites }: Parsed): Complaint[] {
  const complaints: Complaint[] = [];
  const unique = (): ((value: unknown, path: (string | number)[]) => void) => {
    const seen = new Set<unknown>();
    return (value, path) => {
      if (seen.has(value)) complaints.push({ path, message: `"${value}" is given twice` });
      seen.add(value);
    };
  };
  const [names, indexes, nodes] = [unique(), unique(), unique()];
  policies.forEach((item, i) => {
    names(item.name, ['policies', i, 'name']);
    indexes(item.index, ['policies', i, 'index']);
  });
  const defaults = policies.filter((item) => item.default).length;
  if (defaults !== 1)
    complaints.push({ path: ['policies'], message: 'exactly one must be the default' });
  let devices = 0;
  for (const [site, members] of Object.entries(sites)) {
    members.forEach((member, i) => {
      nodes(member.node, ['sites', site, i, 'node']);
      const devicesHere = unique();
      devices += member.devices.length;
      member.devices.forEach((item, d) => {
        devicesHere(item.name, ['sites', site, i, 'devices', d, 'name']);
      });
    });
  }
  if (devices === 0) complaints.push({ path: ['sites'], message: 'no devices' });
  if (devices > MAX_DEVICES)
    complaints.push({ path: ['sites'], message: `more than ${MAX_DEVICES} devices` });
  return complaints;
}

/** @throws OperatingError `bad-description`: every wrong field with its path */
export function parseDescription(value: unknown): ClusterDescription {
  const result = schema.safeParse(value);
  if (result.success) return describe(result.data);
  const issues = result.error.issues.map(
    (issue) => `${issue.path.map(String).join('.') || '(top)'}: ${issue.message}`,
  );
  throw new OperatingError('bad-description', `wrong description: ${issues.join('; ')}`, {
    issues,
  });
}

/** @throws OperatingError `bad-description` */
export function parseDescriptionText(text: string): ClusterDescription {
  if (text.length > MAX_TEXT_BYTES)
    throw new OperatingError('bad-description', 'description too large');
  const document = parseDocument(text, { uniqueKeys: true });
  const error = document.errors[0];
  if (error !== undefined) {
    const [first] = error.message.split('\n');
    throw new OperatingError('bad-description', `not YAML: ${first}`, {}, { cause: error });
  }
  return parseDescription(document.toJS({ maxAliasCount: 100 }));
}

function describe(parsed: Parsed): ClusterDescription {
  return {
    name: parsed.name,
    partPower: parsed.part_power,
    overload: parsed.overload,
    minPartHours: parsed.min_part_hours,
    policies: parsed.policies.map(storagePolicy),
    rowReplicas: { container: parsed.container.replicas, account: parsed.account.replicas },
    nodes: Object.entries(parsed.sites).flatMap(([site, members]) =>
      members.map((member) => describeNode(site, member)),
    ),
  };
}

/** States default to the smallest odd number that holds every copy, three at least. */
function storagePolicy(item: Parsed['policies'][number]): StoragePolicy {
  const least = Math.max(3, item.replicas);
  const states = item.states ?? (least % 2 === 0 ? least + 1 : least);
  const { name: policyName, index, replicas: copies, mode } = item;
  return { name: policyName, index, copies, states, mode, isDefault: item.default };
}

function describeNode(site: string, member: Parsed['sites'][string][number]): NodeDescription {
  const { node: nodeName, zone, wire: address } = member;
  const shown = formatAddress(address);
  const devices = member.devices.map((item) => ({
    site,
    zone,
    node: nodeName,
    name: item.name,
    weight: item.weight,
    meta: { wire: shown, ...item.meta },
  }));
  return { name: nodeName, site, zone, wire: address, devices };
}

export function describedDevices({ nodes }: ClusterDescription): DeviceDescription[] {
  return nodes.flatMap((member) => member.devices);
}

const HOST_NAME = /^[A-Za-z0-9._-]{1,253}$/;

/** A name or an address, without a port: what can be put into other programs' files as it is. */
export function isHost(text: string): boolean {
  return HOST_NAME.test(text) || isIPv6(text);
}

/** `host:port` or `[IPv6]:port`; undefined when it is neither. */
export function parseAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port < 1 || port > 65_535) return undefined;
  if (match?.[1]?.includes(':') === false) return undefined;
  return { host, port };
}

export function formatAddress({ host, port }: { host: string; port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
