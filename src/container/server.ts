/**
 * The container service: the rows of a container are its objects. What is the same for accounts is in
 * `rows/service`; here is what a container is beside them: created with a policy and a mode, deleted
 * when empty, listed in its account with totals.
 */
import { CONTAINER_RING } from '#base/names.ts';
import { RowService } from '#rows/service/row-service.ts';
import type { Job } from '#worker/job.ts';
import { AccountLister } from './account-rows.ts';
import { serveHoldings } from './holdings.ts';
import { type ListingAuditorOptions, RowListingAuditor } from './listing-auditor.ts';
import { TotalsReporter } from './reporter.ts';
import { admitState, isForeignRow, keepSettings, refuseRow, remakeContainer } from './rules.ts';

export interface ContainerService {
  readonly rows: RowService;
  /** For the caller to run: rejoin and anti-entropy, cursors, totals; rows against objects. */
  readonly jobs: readonly Job[];
}

/** Registers `container.*` on the wire. */
export function createContainerService(options: ListingAuditorOptions): ContainerService {
  const lister = new AccountLister(options);
  const rows = new RowService(options, CONTAINER_RING, 'container', {
    mustExist: true,
    refuse: refuseRow,
    isForeign: isForeignRow,
    admit: admitState,
    remake: remakeContainer,
    tombstone: keepSettings,
    committed: (target, hash, listing, txn) => lister.list(target, hash, listing, txn),
  });
  serveHoldings(rows.context);
  return {
    rows,
    jobs: [...rows.jobs, new TotalsReporter(options), new RowListingAuditor(options)],
  };
}
