/** Patterns of policies: `*` any run of characters, `?` any one; and `${aws:username}` in them. */
import type { Facts } from './conditions.ts';

/** Linear in text times stars, whatever the pattern: policies are anybody's input. */
export function globMatches(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p += 1;
      t += 1;
    } else if (star >= 0) {
      p = star + 1;
      t = ++mark;
    } else return false;
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}

/** A variable without a value fits nothing: it stays as it stands. */
export function expand(pattern: string, facts: Facts): string {
  if (!pattern.includes('${')) return pattern;
  return pattern.replace(/\$\{([^}]*)\}/g, (whole, name: string) => {
    if (name === '*' || name === '?' || name === '$') return name;
    const values = facts(name.toLowerCase());
    return values?.length === 1 ? values[0]! : whole;
  });
}
