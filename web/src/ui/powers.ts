/** Powers of two from `from` to `to`. */
export function powers(from: number, to: number): number[] {
  const list: number[] = [];
  for (let value = from; value <= to; value *= 2) list.push(value);
  return list;
}
