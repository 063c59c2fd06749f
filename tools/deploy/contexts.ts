/** From facts to what each template fills in. Pure. */
import { isIPv6 } from 'node:net';
import type { Document } from '#authority/document.ts';
import { OperatingError } from '#base/errors.ts';
import {
  type ClusterFacts,
  type EtcdMember,
  etcdMembers,
  type Member,
  ofRole,
  portsOf,
  siteFacts,
} from './facts.ts';

const PEER_PORT = 2380;
const HTTPS_PORT = 443;
const DEFAULT_RTT_MS = 20;
const MIN_HEARTBEAT_MS = 100;

interface UnitPaths {
  readonly config: string;
  readonly data: string;
  readonly disks: readonly string[];
  readonly command: string;
}

export interface HaproxyOptions {
  readonly bind?: string;
  readonly port?: string;
  readonly certificate?: string;
  readonly caFile?: string;
  readonly proxyTls?: boolean;
  readonly runtime?: string;
}

export function haproxyContext(facts: ClusterFacts, siteName: string, options: HaproxyOptions) {
  const { site, members } = siteFacts(facts, siteName);
  refuseUnsafe(options);
  const proxies = ofRole(members, 'proxy');
  const servers = proxies.filter(hasProxyPort).map((member) => ({
    name: member.name,
    site: member.site,
    address: bracketed(member.wire.host),
    port: member.ports['proxy'],
  }));
  return {
    version: facts.version,
    site,
    bind: options.bind ?? '',
    port: options.port ?? HTTPS_PORT,
    certificate: options.certificate,
    caFile: options.caFile ?? '/etc/anello/ca.pem',
    proxyTls: options.proxyTls ?? facts.document.features['proxy-tls'] ?? false,
    runtime: options.runtime ?? '/run/haproxy/admin.sock',
    local: servers.filter((server) => server.site === siteName),
    remote: servers.filter((server) => server.site !== siteName),
    leftOut: proxies.filter((member) => !hasProxyPort(member)).map(({ name }) => name),
  };
}

/** What is filled in must not say anything else to HAProxy than what it is for. */
function refuseUnsafe({ port, ...words }: HaproxyOptions): void {
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65535))
    throw new OperatingError('wrong-use', `--port ${port}: a number from 1 to 65535`);
  for (const word of Object.values(words))
    if (typeof word === 'string' && !/^[^\s"'#\\]+$/.test(word))
      throw new OperatingError(
        'wrong-use',
        `"${word}": neither blanks nor quotes, # or backslashes`,
      );
}

/** Folders and programs as a unit of systemd takes them. @throws OperatingError `wrong-use` */
export function systemdContext<Unit extends UnitPaths>(unit: Unit): Unit {
  for (const file of [unit.config, unit.data, unit.command, ...unit.disks])
    if (!/^\/[^\s"'%\\]*$/.test(file))
      throw new OperatingError(
        'wrong-use',
        `"${file}": an absolute path without blanks, quotes, % or backslashes`,
      );
  return unit;
}

/** Of a node that joined after a backup which was restored, it is known when the node has reported. */
function hasProxyPort({ ports }: Member): boolean {
  return ports['proxy'] !== undefined;
}

export function nftablesContext(facts: ClusterFacts, siteName: string) {
  const { site, members, local } = siteFacts(facts, siteName);
  const hosts = [...new Set(members.map(({ wire }) => wire.host))].filter(isAddress);
  const named = members.map(({ wire }) => wire.host).filter((host) => !isAddress(host));
  if (named.length > 0)
    throw new OperatingError('wrong-use', `rules need addresses, not names: ${named.join(', ')}`);
  const [clients4, clients6] = split(site.clients, (network) => network.includes(':'));
  const [nodes4, nodes6] = split(hosts, isIPv6);
  const etcd = etcdMembers(facts.document);
  const everywhere = site.clients.length === 0;
  const port = (role: string): (number | undefined)[] =>
    ofRole(local, role).map(({ ports }) => ports[role]);
  return {
    version: facts.version,
    site,
    wirePorts: portsOf(local.map(({ wire }) => wire.port)),
    authorityPorts: portsOf([...port('authority'), ...authorityPortIfNone(local)]),
    adminPorts: portsOf(local.map(({ ports }) => ports['admin'])),
    publicPorts: portsOf([HTTPS_PORT, ...port('proxy'), ...port('identity')]),
    etcd: etcd.length > 0 && { peerPort: PEER_PORT, clientPort: etcd[0]!.clientPort },
    nodes4: nodes4.join(', '),
    nodes6: nodes6.join(', '),
    clients4: everywhere ? '0.0.0.0/0' : clients4.join(', '),
    clients6: everywhere ? '::/0' : clients6.join(', '),
  };
}

/** A set must not be empty; a site without an authority opens the usual port to nobody new. */
function authorityPortIfNone(local: readonly Member[]): number[] {
  return ofRole(local, 'authority').length > 0 ? [] : [7600];
}

export function etcdContext(facts: ClusterFacts, siteName: string) {
  const { local } = siteFacts(facts, siteName);
  const { links, name, state } = facts.document;
  const hosts = local.map(({ wire }) => wire.host);
  const rttMs = Math.max(DEFAULT_RTT_MS, ...links.map((link) => link.rttMs));
  return etcdMemberContext({ name, state }, hosts, rttMs);
}

/** Of the member on one of these hosts. The store has to run before there is a cluster that tells of it. */
export function etcdMemberContext(
  { name, state }: Pick<Document, 'name' | 'state'>,
  hosts: readonly string[],
  rttMs = DEFAULT_RTT_MS,
) {
  const members = etcdMembers({ state });
  const member = members.find(({ host }) => hosts.includes(host));
  if (member === undefined)
    throw new OperatingError(
      'no-etcd',
      `no etcd member is on ${hosts.join(', ')}: ${stateText(state)}`,
    );
  return {
    clusterName: name,
    etcd: { peerPort: PEER_PORT, clientPort: member.clientPort },
    tls: member.scheme === 'https',
    member: {
      name: member.name,
      host: member.host,
      clientUrl: `${member.scheme}://${bracketed(member.host)}:${member.clientPort}`,
      peerUrl: peerUrl(member),
    },
    initialCluster: members.map((each) => `${each.name}=${peerUrl(each)}`).join(','),
    heartbeatMs: Math.max(MIN_HEARTBEAT_MS, Math.ceil(rttMs)),
    electionMs: Math.max(MIN_HEARTBEAT_MS, Math.ceil(rttMs)) * 10,
  };
}

/** What agrees in a cluster's document may be no etcd at all. */
function stateText(state: string): string {
  return state.startsWith('etcd:') ? state : "the cluster's state is not in etcd";
}

function peerUrl({ scheme, host }: EtcdMember): string {
  return `${scheme}://${bracketed(host)}:${PEER_PORT}`;
}

export function prometheusContext(facts: ClusterFacts, rulesFile: string) {
  const nodes = facts.members
    .filter(({ expelled }) => !expelled)
    .map(({ name, site, wire, ports }) => ({
      name,
      site,
      address: bracketed(wire.host),
      adminPort: ports['admin'],
    }));
  return { version: facts.version, nodes, rulesFile };
}

const SITE = 'site=~"$site"';
const PANELS = [
  [
    'Requests',
    'reqps',
    `sum by (site, operation) (rate(anello_http_request_seconds_count{${SITE}}[5m]))`,
    '{{site}} {{operation}}',
  ],
  [
    'Failed requests',
    'reqps',
    `sum by (site, status) (rate(anello_http_request_seconds_count{${SITE},status=~"5.."}[5m]))`,
    '{{site}} {{status}}',
  ],
  [
    'Latency, 99 %',
    's',
    `histogram_quantile(0.99, sum by (site, operation, le) (rate(anello_http_request_seconds_bucket{${SITE}}[5m])))`,
    '{{site}} {{operation}}',
  ],
  [
    'Latency, median',
    's',
    `histogram_quantile(0.5, sum by (site, operation, le) (rate(anello_http_request_seconds_bucket{${SITE}}[5m])))`,
    '{{site}} {{operation}}',
  ],
  [
    'From clients',
    'Bps',
    `sum by (site) (rate(anello_http_received_bytes_total{${SITE}}[5m]))`,
    '{{site}}',
  ],
  [
    'To clients',
    'Bps',
    `sum by (site) (rate(anello_http_sent_bytes_total{${SITE}}[5m]))`,
    '{{site}}',
  ],
  ['Objects by state', 'short', 'max by (state) (anello_durability_objects)', '{{state}}'],
  [
    'CPU',
    'percentunit',
    `sum by (node) (rate(process_cpu_seconds_total{${SITE}}[5m]))`,
    '{{node}}',
  ],
] as const;

export function grafanaContext(facts: ClusterFacts) {
  const panels = PANELS.map(([title, unit, expression, legend], n) => ({
    id: n + 1,
    title,
    unit,
    expression: JSON.stringify(expression),
    legend,
    x: (n % 2) * 12,
    y: Math.floor(n / 2) * 8,
    last: n === PANELS.length - 1,
  }));
  return { clusterName: facts.document.name, panels };
}

function isAddress(host: string): boolean {
  return isIPv6(host) || /^\d{1,3}(\.\d{1,3}){3}$/.test(host);
}

function split<T>(items: readonly T[], isSecond: (item: T) => boolean): [T[], T[]] {
  return [items.filter((item) => !isSecond(item)), items.filter(isSecond)];
}

function bracketed(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}
