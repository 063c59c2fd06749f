/**
 * The calls of the container service. The account service has the same with `account.` in front and
 * ACCOUNT_RING: there the "container" is the account and the rows are its containers. Both are row
 * services, so the forms are defined there.
 */
export type { ListedRow, ListQuery, RowTotals } from '#rows/query.ts';
export type {
  ContainersArgs,
  ContainersReply,
  ListArgs,
  ListReply,
  OwnListing,
  OwnOutcome,
  OwnStateArgs,
  OwnStateReply,
  PullArgs,
  PullReply,
  RemoveArgs,
  RemoveReply,
  RowAddress,
  RowDigestsArgs,
  RowDigestsReply,
  RowItem,
  RowOutcome,
  RowsArgs,
  RowsReply,
  SealArgs,
  SealReply,
  StateReply,
  UnsealReply,
} from '#rows/service/calls.ts';
export { OWN_OUTCOMES, ROW_OUTCOMES } from '#rows/service/calls.ts';
