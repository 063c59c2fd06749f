/** How a call fails: what travels in a FAILURE frame, and the WireError that the caller gets. */
import { codeOf, type Facts, messageOf, OperatingError } from '#base/errors.ts';
import { WIRE_CODES, type WireCode, WireError } from './contract.ts';

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly facts: Facts;
  /** The wire's own code, not the handler's. */
  readonly isWire: boolean;
}

/** What the handler has thrown, for the caller. */
export function failureOf(error: unknown): Failure {
  const facts = error instanceof OperatingError ? error.facts : {};
  return { code: codeOf(error), message: messageOf(error), facts, isWire: false };
}

export function failureError({ code, message, facts, isWire }: Failure): WireError {
  if (isWire && isWireCode(code)) return new WireError(code, message, facts);
  return new WireError('remote', message, facts, code);
}

export const OVERLOADED: Failure = {
  code: 'overloaded',
  message: 'too many calls under way, or replies not read',
  facts: {},
  isWire: true,
};

export function unknownMethod(method: string): Failure {
  return { code: 'refused', message: 'unknown method', facts: { method }, isWire: true };
}

export function notPermitted(method: string, peer: string): Failure {
  const message = "the caller's role may not make this call";
  return { code: 'refused', message, facts: { method, peer }, isWire: true };
}

export function callerCancelled(reason: string): WireError {
  return new WireError('cancelled', 'the caller has cancelled', { reason });
}

function isWireCode(code: string): code is WireCode {
  return (WIRE_CODES as readonly string[]).includes(code);
}
