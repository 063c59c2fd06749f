/** What templates are rendered from: the cluster document and its members, as the authority tells them. */

import type { Document } from '#authority/document.ts';
import { OperatingError } from '#base/errors.ts';

export interface Member {
  readonly name: string;
  readonly site: string;
  readonly roles: readonly string[];
  readonly wire: { readonly host: string; readonly port: number };
  readonly ports: Readonly<Record<string, number>>;
  readonly expelled: boolean;
}

export interface ClusterFacts {
  readonly version: number;
  readonly document: Document;
  readonly members: readonly Member[];
}

/** Of the members that still belong to it. @throws OperatingError `unknown-site` */
export function siteFacts(facts: ClusterFacts, siteName: string) {
  const site = facts.document.sites.find(({ name }) => name === siteName);
  if (site === undefined) {
    const known = facts.document.sites.map(({ name }) => name).join(', ');
    throw new OperatingError('unknown-site', `no site "${siteName}"; there are ${known}`);
  }
  const members = facts.members.filter(({ expelled }) => !expelled);
  return { site, members, local: members.filter((member) => member.site === siteName) };
}

export function ofRole(members: readonly Member[], role: string): Member[] {
  return members.filter(({ roles }) => roles.includes(role));
}

/** Distinct port numbers, for a set in a rule: `7400, 7401`. */
export function portsOf(numbers: readonly (number | undefined)[]): string {
  const known = numbers.filter((port) => port !== undefined);
  return [...new Set(known)].sort((a, b) => a - b).join(', ');
}

export interface EtcdMember {
  readonly name: string;
  readonly scheme: 'http' | 'https';
  readonly host: string;
  readonly clientPort: number;
}

/** Members in the order of the document: `etcd:http://10.1.0.1:2379,...`; none with another store. */
export function etcdMembers({ state }: Pick<Document, 'state'>): EtcdMember[] {
  if (!state.startsWith('etcd:')) return [];
  return state
    .slice('etcd:'.length)
    .split(',')
    .map((text, n) => {
      const { protocol, hostname, port } = new URL(text);
      return {
        name: `anello-${n + 1}`,
        scheme: protocol === 'https:' ? 'https' : 'http',
        host: hostname,
        clientPort: Number(port || '2379'),
      };
    });
}
