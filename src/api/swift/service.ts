/** What all requests share; made once by createSwiftHandler. */
import type { RoleLists } from '#auth/acl.ts';
import type { Authenticator } from '#auth/authenticator.ts';
import type { Env } from '#env/env.ts';
import type { BucketNames } from '#proxy/bucket-names.ts';
import type { Fairness } from '#proxy/fairness/fairness.ts';
import type { VersionedStore } from '#proxy/versions/contract.ts';
import type { FinishedRequest } from '../http/finished-request.ts';
import type { OriginOf } from '../http/origin.ts';
import type { TransactionIds } from '../http/transaction-id.ts';
import type { SwiftLimits } from './limits.ts';

export interface SwiftService {
  readonly store: VersionedStore;
  readonly authenticator: Pick<Authenticator, 'authenticate' | 'accountDomain'>;
  /** Which roles own and read; absent: OpenStack Swift's defaults. */
  readonly roles: RoleLists | undefined;
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly limits: SwiftLimits;
  readonly transactionIds: TransactionIds;
  /** PUT and DELETE of accounts, for reseller admins. Else 405, as in Swift by default. */
  readonly accountManagement: boolean;
  readonly clusterName: string;
  readonly version: string;
  readonly healthy: () => boolean;
  /** Told of containers that come and go: their names are buckets' names, too. */
  readonly names: Pick<BucketNames, 'created' | 'deleted'> | undefined;
  /** Where requests come from: past the balancers that are trusted. */
  readonly originOf: OriginOf;
  readonly fairness: Fairness | undefined;
  readonly finished: (request: FinishedRequest) => void;
}
