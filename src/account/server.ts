/**
 * The account service: the rows of an account are its containers, each with the totals that the
 * container's replicas reported. An account comes into being with the first row or metadata.
 */
import { ACCOUNT_RING } from '#base/names.ts';
import type { RowServiceOptions } from '#rows/service/context.ts';
import { type RowRules, RowService } from '#rows/service/row-service.ts';

const RULES: RowRules = {
  mustExist: false,
  refuse: () => undefined,
  isForeign: () => false,
  admit: (_own, _live, state) => state,
  remake: () => undefined,
  tombstone: (_own, state) => state,
  committed: async () => [],
};

/** Registers `account.*` on the wire; the jobs are for the caller to run. */
export function createAccountService(options: RowServiceOptions): RowService {
  return new RowService(options, ACCOUNT_RING, 'account', RULES);
}
