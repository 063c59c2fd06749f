import { OperatingError } from '#base/errors.ts';

/** The reason of an aborted request: nothing is wrong with the store. */
export function clientGone(): OperatingError {
  return new OperatingError('client-gone', 'the client closed the connection');
}
