/**
 * Secrets that people and scripts carry around: lower-case letters and digits only, so that none
 * begins with a dash or needs quoting. 5 bits a character.
 */
import type { Random } from '#env/env.ts';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

export function secretText(random: Random, length: number): string {
  // 32 divides 256: the remainder of a byte is uniform.
  return Array.from(random.bytes(length), (byte) => ALPHABET[byte % ALPHABET.length]).join('');
}
