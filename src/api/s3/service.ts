/** What all S3 requests share; made once by createS3Handler. */
import type { RoleLists } from '#auth/acl.ts';
import type { S3Signer } from '#auth/authenticator.ts';
import type { UserCaller } from '#auth/caller.ts';
import type { PolicyCache } from '#auth/policy/policy-cache.ts';
import type { Env } from '#env/env.ts';
import type { S3KeyRequest } from '#identity/s3-keys.ts';
import type { BucketNames } from '#proxy/bucket-names.ts';
import type { Fairness } from '#proxy/fairness/fairness.ts';
import type { Lifecycle } from '#proxy/lifecycle/rules.ts';
import type { VersionedStore } from '#proxy/versions/contract.ts';
import type { FinishedRequest } from '../http/finished-request.ts';
import type { OriginOf } from '../http/origin.ts';
import type { TransactionIds } from '../http/transaction-id.ts';
import type { Checksums } from './checksums.ts';
import type { S3Limits } from './limits.ts';
import type { ParsedTexts } from './parsed-texts.ts';
import type { Website } from './website-rules.ts';

/** Who signed a request. */
export interface S3Signers {
  findS3Key(request: S3KeyRequest): Promise<S3Signer | undefined>;
  /** SigV2: the secret is identity's, so identity checks. Undefined: the key signed none of these. */
  checkSigV2(
    access: string,
    stringsToSign: readonly string[],
    signature: string,
    sessionToken?: string,
  ): Promise<UserCaller | 'no-such-key' | undefined>;
  accountDomain(account: string): string | undefined;
  /** A project's name by its canonical id; undefined: there is no such project. */
  nameOfCanonical(id: string): string | undefined;
}

export interface S3Service {
  readonly store: VersionedStore;
  readonly signers: S3Signers;
  readonly names: BucketNames;
  readonly checksums: Checksums;
  readonly policies: PolicyCache;
  readonly lifecycles: ParsedTexts<Lifecycle>;
  readonly websites: ParsedTexts<Website>;
  /** What lifecycle rules count as a day. */
  readonly dayMs: number;
  readonly roles: RoleLists | undefined;
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly limits: S3Limits;
  readonly requestIds: TransactionIds;
  /** Hosts whose sub-domains are buckets. */
  readonly domains: () => readonly string[];
  /** Hosts whose sub-domains are buckets shown as websites. */
  readonly websiteDomains: () => readonly string[];
  /** This site's name: what GetBucketLocation answers and CreateBucket may ask for, among others. */
  readonly region: string;
  /** Where requests come from, past our own balancers. */
  readonly originOf: OriginOf;
  /** Whether the operator's list allows events to be sent there. */
  readonly mayNotify: (url: string) => boolean;
  readonly fairness: Fairness | undefined;
  readonly finished: (request: FinishedRequest) => void;
}
