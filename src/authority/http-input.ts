/** What comes in over the authority's HTTP API: checked before anything is done with it. */
import type { Context, Hono } from 'hono';
import type { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { Principal } from './principal.ts';

export type Variables = { principal: Principal };
export type AuthorityHono = Hono<{ Variables: Variables }>;

/** @throws OperatingError `bad-input` with the path of what is wrong */
export async function input<T>(context: Context, schema: z.ZodType<T>): Promise<T> {
  let value: unknown;
  try {
    value = await context.req.json();
  } catch {
    throw badInput('not JSON');
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.slice(0, 10);
  throw badInput(
    issues.map((i) => `${i.path.map(String).join('.') || '(top)'}: ${i.message}`).join('; '),
  );
}

export function badInput(message: string): OperatingError {
  return new OperatingError('bad-input', message);
}
