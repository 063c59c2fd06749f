/**
 * What a process knows of its cluster at one moment: policies, nodes and rings, all of one published
 * version. `ClusterSource` is how it learns the next; a view is immutable, so an operation takes
 * `current()` once and keeps to it.
 */
import type { PolicyIndex } from '#base/names.ts';
import type { Ring } from './ring.ts';

export const CONSISTENCY_MODES = ['strict', 'available', 'local'] as const;
export type ConsistencyMode = (typeof CONSISTENCY_MODES)[number];

export interface StoragePolicy {
  readonly index: PolicyIndex;
  readonly name: string;
  /** Copies of a body. */
  readonly copies: number;
  /** Replicas of the state, N of every quorum: odd, >= 3, >= copies. The first `copies` hold bodies. */
  readonly states: number;
  readonly mode: ConsistencyMode;
  readonly isDefault: boolean;
}

export interface NodeInfo {
  readonly name: string;
  readonly site: string;
  readonly zone: string;
  readonly wire: { readonly host: string; readonly port: number };
  /** What its certificate allows; undefined where the authority keeps no members. */
  readonly roles?: readonly string[];
}

/** What an operator sets for the whole cluster besides rings (authority/document.ts). */
export interface ClusterSettings {
  readonly name: string;
  readonly sites: readonly SiteInfo[];
  readonly links: readonly SiteLink[];
  readonly limits: Readonly<Record<string, number>>;
  readonly features: Readonly<Record<string, boolean>>;
  /** Where users may have events sent; absent: nowhere. */
  readonly webhooks?: readonly string[] | undefined;
  /** Hosts whose sub-domains are buckets, and those shown as websites. */
  readonly s3Domains?: readonly string[] | undefined;
  readonly s3WebsiteDomains?: readonly string[] | undefined;
  /** Where authorities answer. */
  readonly authorities: readonly string[];
  /** Nodes and serial numbers of certificates that nobody talks to any more. */
  readonly revoked: { readonly nodes: readonly string[]; readonly serials: readonly string[] };
}

export interface SiteInfo {
  readonly name: string;
  /** One name for Swift, S3 and Keystone at this site, as clients see it. */
  readonly publicUrl?: string | undefined;
}

export interface SiteLink {
  readonly between: readonly [string, string];
  readonly rttMs: number;
  /** Bytes per second that repair and moves may use. */
  readonly bandwidth?: number | undefined;
  /** When they may use it, such as `22:00-06:00`; always when absent. */
  readonly hours?: string | undefined;
}

export interface ClusterView {
  readonly clusterId: string;
  /** Version of the whole bundle; rings have their own versions too. */
  readonly version: number;
  readonly hashPrefix: string;
  readonly hashSuffix: string;
  readonly policies: readonly StoragePolicy[];
  readonly nodes: ReadonlyMap<string, NodeInfo>;
  /** Every ring by number: object policies, CONTAINER_RING, ACCOUNT_RING (base/names.ts). */
  readonly rings: ReadonlyMap<PolicyIndex, Ring>;
  /** Undefined in the first clusters' bundles. */
  readonly settings?: ClusterSettings | undefined;
}

export interface ClusterSource {
  current(): ClusterView;
  /** Calls `changed` after each new version; returns the way to stop. */
  subscribe(changed: (view: ClusterView) => void): () => void;
  /** Somebody has shown that there is a newer version: asks for it at once. */
  seek(): void;
}
