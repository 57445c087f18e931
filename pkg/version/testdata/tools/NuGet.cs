// NuGetVersion, inside nuget.exe. Argument: its path.
using System;
using System.Reflection;

static class Oracle
{
    static int Main(string[] args)
    {
        var assembly = Assembly.LoadFrom(args[0]);
        var type = assembly.GetType("NuGet.Versioning.NuGetVersion");
        MethodInfo parse = null;
        foreach (var method in type.GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly))
        {
            if (method.Name == "TryParse" && method.GetParameters().Length == 2)
                parse = method;
        }
        Console.WriteLine("NuGet " + assembly.GetName().Version);
        string a, b;
        while ((a = Console.ReadLine()) != null && (b = Console.ReadLine()) != null)
        {
            object[] first = { a, null }, second = { b, null };
            if (!(bool)parse.Invoke(null, first) || !(bool)parse.Invoke(null, second))
            {
                Console.WriteLine("?");
                continue;
            }
            int order = ((IComparable)first[1]).CompareTo(second[1]);
            Console.WriteLine(order < 0 ? "<" : order > 0 ? ">" : "=");
        }
        return 0;
    }
}
