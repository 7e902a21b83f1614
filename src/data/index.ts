export * from "./inputs.ts";
export * from "./loader.ts";
export * from "./meta.ts";
export * from "./prepare.ts";
export * from "./safetensors.ts";
export * from "./tokenizers.ts";
export * from "./tokens.ts";
