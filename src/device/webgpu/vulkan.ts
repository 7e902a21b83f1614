import { UnsupportedError } from "../../errors.ts";
import { findLibrary, loadKoffi } from "../nativeLibraries.ts";

/** VkInstanceCreateInfo: its type, 1, and nothing asked for. */
const instanceRequest = Buffer.alloc(64);
instanceRequest.writeInt32LE(1);

/**
 * On Linux Dawn reaches GPUs through Vulkan's loader, and prints warnings where it, or a driver under it, is not there.
 * So both are looked for first.
 * @throws UnsupportedError if there is no loader, or none that finds a GPU
 */
export async function findVulkan(): Promise<void> {
  const koffi = await loadKoffi();
  const { handle, path } = findLibrary(koffi, {
    what: "Vulkan's loader",
    names: ["libvulkan.so.1"],
    fix: "Install it (Debian: libvulkan1, Fedora: vulkan-loader) beside the GPU's driver.",
  });
  const create = handle.func("int vkCreateInstance(void *info, void *allocator, void *instance)");
  const enumerate = handle.func("int vkEnumeratePhysicalDevices(uint64_t instance, void *count, void *devices)");
  const destroy = handle.func("void vkDestroyInstance(uint64_t instance, void *allocator)");
  const [instance, count] = [new BigUint64Array(1), new Uint32Array(1)];
  if (create(instanceRequest, null, instance) === 0) {
    enumerate(instance[0], count, null);
    destroy(instance[0], null);
  }
  if (count[0] === 0) {
    const fix = "Install the GPU's driver for Vulkan (Debian: mesa-vulkan-drivers, or NVIDIA's own).";
    throw new UnsupportedError("openDevice", "Vulkan must find a GPU", `no driver under ${path}`, fix);
  }
}
