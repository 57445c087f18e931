// ComparableVersion, from the jar maven-artifact on the class path.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.apache.maven.artifact.versioning.ComparableVersion;

class Maven {
    public static void main(String[] args) throws Exception {
        String jar = ComparableVersion.class.getProtectionDomain().getCodeSource().getLocation().getPath();
        System.out.println(jar.substring(jar.lastIndexOf('/') + 1));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        String a, b;
        while ((a = in.readLine()) != null && (b = in.readLine()) != null) {
            int order = new ComparableVersion(a).compareTo(new ComparableVersion(b));
            System.out.println(order < 0 ? "<" : order > 0 ? ">" : "=");
        }
    }
}
