/**
 * Operating errors: the disk is full, a peer is silent, a file is damaged. They are tested by `code`
 * (stable, kebab-case, part of the interface), never by message. `facts` are logged as fields.
 */
export type Facts = Readonly<Record<string, unknown>>;

export class OperatingError extends Error {
  override readonly name: string = 'OperatingError';
  readonly code: string;
  readonly facts: Facts;

  constructor(code: string, message: string, facts: Facts = {}, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.facts = facts;
  }
}

/** The code of any thrown thing: an OperatingError's, Node's (`ENOSPC`), or `internal`. */
export function codeOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error) {
    const { code } = error;
    if (typeof code === 'string') return code;
  }
  return 'internal';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
