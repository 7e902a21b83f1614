// The bucket of a row, by what its groups say: group_count for a row that takes no part. With keep_masks any value but 0
// stands for group 0. Numbers: group_count, keep_masks.
fn bucket_of(group: i32) -> u32 {
  if (args.keep_masks == 1u) { return select(args.group_count, 0u, group != 0); }
  return select(args.group_count, u32(group), group >= 0 && group < i32(args.group_count));
}
