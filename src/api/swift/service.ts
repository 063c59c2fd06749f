/** What all requests share; made once by createSwiftHandler. */
import type { RoleLists } from '#auth/acl.ts';
import type { Authenticator } from '#auth/authenticator.ts';
import type { Env } from '#env/env.ts';
import type { Store } from '#proxy/contract.ts';
import type { TransactionIds } from '../http/transaction-id.ts';
import type { SwiftLimits } from './limits.ts';

export interface SwiftService {
  readonly store: Store;
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
  readonly finished: (request: FinishedRequest) => void;
}

/** For metrics and traces. */
export interface FinishedRequest {
  readonly txn: string;
  /** `object.get`, `container.put`, ... or `other`. */
  readonly operation: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly elapsedMs: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
}
